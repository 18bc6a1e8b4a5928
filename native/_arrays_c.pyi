# The compiled twin of the drivers' writer of arrays offers what its specification offers.
from native._arrays_py import encode as encode
