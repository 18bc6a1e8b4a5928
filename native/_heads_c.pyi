# The compiled twin of the front's reader of heads offers what its specification offers.
from native._heads_py import read as read
