# The compiled twin of the courier's words offers what its specification offers.
from native._exchange_py import read as read
from native._exchange_py import read_request as read_request
from native._exchange_py import write as write
