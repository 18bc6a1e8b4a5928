"""Money as integer minor units with a currency, for every step; no float ever comes near it."""

import re
from typing import Final

# ISO 4217 (list one): alphabetic code -> (numeric code, exponent of the minor unit).
_EXPONENT_2: Final = (
    "AED784 AFN971 ALL008 AMD051 AOA973 ARS032 AUD036 AWG533 AZN944 BAM977 BBD052 BDT050 BMD060 "
    "BND096 BOB068 BRL986 BSD044 BTN064 BWP072 BYN933 BZD084 CAD124 CDF976 CHF756 CNY156 COP170 "
    "CRC188 CUP192 CVE132 CZK203 DKK208 DOP214 DZD012 EGP818 ERN232 ETB230 EUR978 FJD242 FKP238 "
    "GBP826 GEL981 GHS936 GIP292 GMD270 GTQ320 GYD328 HKD344 HNL340 HTG332 HUF348 IDR360 ILS376 "
    "INR356 IRR364 JMD388 KES404 KGS417 KHR116 KPW408 KYD136 KZT398 LAK418 LBP422 LKR144 LRD430 "
    "LSL426 MAD504 MDL498 MGA969 MKD807 MMK104 MNT496 MOP446 MRU929 MUR480 MVR462 MWK454 MXN484 "
    "MYR458 MZN943 NAD516 NGN566 NIO558 NOK578 NPR524 NZD554 PAB590 PEN604 PGK598 PHP608 PKR586 "
    "PLN985 QAR634 RON946 RSD941 RUB643 SAR682 SBD090 SCR690 SDG938 SEK752 SGD702 SHP654 SLE925 "
    "SOS706 SRD968 SSP728 STN930 SVC222 SYP760 SZL748 THB764 TJS972 TMT934 TOP776 TRY949 TTD780 "
    "TWD901 TZS834 UAH980 USD840 UYU858 UZS860 VED926 VES928 WST882 XCD951 XCG532 YER886 ZAR710 "
    "ZMW967 ZWG924"
)
_EXPONENT_0: Final = (
    "BIF108 CLP152 DJF262 GNF324 ISK352 JPY392 KMF174 KRW410 PYG600 RWF646 UGX800 VND704 VUV548 "
    "XAF950 XOF952 XPF953"
)
_EXPONENT_3: Final = "BHD048 IQD368 JOD400 KWD414 LYD434 OMR512 TND788"

EXPONENTS: Final[dict[str, int]] = {
    word[:3]: exponent
    for exponent, words in ((2, _EXPONENT_2), (0, _EXPONENT_0), (3, _EXPONENT_3))
    for word in words.split()
}
NUMERIC_CODES: Final[dict[str, int]] = {
    word[:3]: int(word[3:])
    for words in (_EXPONENT_2, _EXPONENT_0, _EXPONENT_3)
    for word in words.split()
}
_DECIMAL: Final = re.compile(r"(-)?([0-9]{1,18})(?:\.([0-9]{1,18}))?")
CURRENCY_OF_NUMERIC: Final[dict[int, str]] = {n: code for code, n in NUMERIC_CODES.items()}


def share(amount: int, basis_points: int) -> int:
    """Take basis points (1/10 000) of an amount in minor units, rounded half up."""
    return (amount * basis_points + 5_000) // 10_000


def cumulative_share(total_fee: int, total: int, part_before: int, part_now: int) -> int:
    """Say how much of a fee goes back with this part, so that all parts return exactly the fee.

    The cumulative method: what is due back for everything returned so far (rounded half up), less
    what went back before.
    """

    def due(part: int) -> int:
        return (2 * total_fee * part + total) // (2 * total)

    return due(part_before + part_now) - due(part_before)


def in_words(amount: int, currency: str) -> str:
    """Write an amount for people: `in_words(1999, "CNY")` is `19.99 CNY`."""
    return f"{to_decimal(amount, currency)} {currency}"


def to_decimal(amount: int, currency: str) -> str:
    """Write minor units as a decimal number of major ones: `to_decimal(1999, "CNY")` is `19.99`."""
    exponent = EXPONENTS[currency]
    if exponent == 0:
        return str(amount)
    sign = "-" if amount < 0 else ""
    whole, minor = divmod(abs(amount), 10**exponent)
    return f"{sign}{whole}.{minor:0{exponent}d}"


def from_decimal(text: str, currency: str) -> int:
    """Read a decimal number of major units exactly; ValueError for a part of a minor unit.

    Plain digits with at most one point and a minus: no exponent, no blanks, no other script's.
    """
    found = _DECIMAL.fullmatch(text)
    if found is None:
        raise ValueError("not a decimal number")
    sign, whole, part = found.groups(default="")
    exponent = EXPONENTS[currency]
    if part[exponent:].strip("0"):
        raise ValueError("not a whole number of minor units")
    return int(f"{sign}{whole}{part[:exponent]:0<{exponent}}")
