# The gateway for production: docker build -t floodgate . && docker run --env-file … floodgate

# No newer Python costs less: docs/performance.md, "The interpreter".
FROM python:3.11-slim AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml setup.py README.md ./
COPY gateway gateway
COPY native native
RUN python -m venv /opt/floodgate && /opt/floodgate/bin/pip install --no-cache-dir .

FROM python:3.11-slim
COPY --from=build /opt/floodgate /opt/floodgate
# Without the compiled modules there is no image, and without them nothing starts.
RUN /opt/floodgate/bin/python -c "import native._routes_c, native._signature_c" \
    && useradd --system --no-create-home --shell /usr/sbin/nologin floodgate
ENV PATH=/opt/floodgate/bin:$PATH PYTHONUNBUFFERED=1 FLOODGATE_HOST=0.0.0.0
USER floodgate
EXPOSE 8080
# SIGTERM drains within 30 s: give `docker stop` as long, with --time 30.
STOPSIGNAL SIGTERM
ENTRYPOINT ["floodgate"]
CMD ["serve"]
