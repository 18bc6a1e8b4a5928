# The compiled twin of the match step's look for equal names offers what its specification offers.
from native._names_py import once as once
