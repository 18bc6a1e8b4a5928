# The compiled twin of the watch of a request's steps offers what its specification offers.
from native._laps_py import Buckets as Buckets
from native._laps_py import Stopwatch as Stopwatch
from native._laps_py import lap as lap
from native._laps_py import start as start
