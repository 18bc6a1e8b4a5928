# The compiled twin of the match step's router offers what its specification offers.
from native._routes_py import RouteTable as RouteTable
