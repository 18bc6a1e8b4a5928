"""What the events step needs of others: somebody who keeps signing keys unreadable at rest."""

from typing import Protocol


class Secrets(Protocol):
    """Encrypts what lies in the database; `context` must be given again to read it.

    `reveal` gives None for what was hidden under a key that is lost.
    """

    def hide(self, plain: bytes, context: bytes) -> bytes: ...

    def reveal(self, hidden: bytes, context: bytes) -> bytes | None: ...
