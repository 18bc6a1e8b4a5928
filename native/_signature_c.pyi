# The compiled twin of the verify step's reader offers what its specification offers.
from native._signature_py import HmacKey as HmacKey
from native._signature_py import read as read
from native._signature_py import signature_base as signature_base
