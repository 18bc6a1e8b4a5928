"""Refusals that stand: what the loop has just refused, the front's thread refuses alike for a while.

The loop says how many may come to it all the same: as many as it has room for.  Both count those
that came by its leave on and on, so nobody is let through twice for one seat.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcmp, memcpy

from native._head cimport KEY_ID_BYTES, Head
from native._post cimport Reply, load


cdef enum:
    STANDING_MAX = 8
    COUNTS_MAX = 64
    PIECES_MAX = 4
    ASKS_BYTES_MAX = 256
    FORM_BYTES_MAX = 2048
    ID_BYTES = 24


cdef struct Form:               # an answer, but for its id, which stands between its pieces
    size_t size
    size_t ends[PIECES_MAX]
    int count
    char data[FORM_BYTES_MAX]


cdef struct Standing:
    int place                   # where it is kept
    double until                # seconds of the monotonic clock
    unsigned counted_as         # which count grows by each that is refused
    size_t method_size
    size_t path_size
    size_t key_size
    char asks[ASKS_BYTES_MAX]   # one behind the other
    Form going
    Form last


cdef inline size_t path_size_of(const char* data, const Head* head) noexcept nogil:
    """Say how long the target is without its query."""
    cdef const char* target = data + head.target
    cdef const char* mark = <const char*>memchr(target, c"?", head.target_size)
    return head.target_size if mark == NULL else <size_t>(mark - target)


cdef inline bint is_meant(const Standing* standing, const char* data, const Head* head, size_t path_size) noexcept nogil:
    cdef const char* asks = standing.asks
    cdef size_t key_size = KEY_ID_BYTES if head.key_id else 0
    return (
        standing.method_size == head.method_size
        and standing.path_size == path_size
        and standing.key_size == key_size
        and memcmp(asks, data, head.method_size) == 0
        and memcmp(asks + head.method_size, data + head.target, path_size) == 0
        and memcmp(asks + head.method_size + path_size, data + head.key_id, key_size) == 0
    )


cdef struct Standings:          # all that stands, each in the place that the loop gave it
    int count                   # places that something has stood in
    Standing* all[STANDING_MAX]
    unsigned used[STANDING_MAX]     # how many came by leave, for ever; the thread's own
    unsigned granted[STANDING_MAX]  # up to which of them may come; the loop's word
    unsigned needed[STANDING_MAX]   # whether one was refused since the loop asked


cdef inline void stand(Standings* standings, const Standing* new) noexcept nogil:
    """Let this stand from now, in the place of what stood there."""
    cdef int place = new.place
    if standings.all[place] == NULL:
        standings.all[place] = <Standing*>malloc(sizeof(Standing))
        if standings.all[place] == NULL:
            return
    standings.all[place][0] = new[0]
    standings.count = max(standings.count, place + 1)


cdef inline int against(const Standings* standings, const char* data, const Head* head, double at) noexcept nogil:
    """Find what stands against such a request, and give its place; -1: nothing does."""
    cdef int i
    cdef size_t path_size
    cdef const Standing* standing
    if standings.count == 0:
        return -1
    path_size = path_size_of(data, head)
    for i in range(standings.count):
        standing = standings.all[i]
        if standing != NULL and standing.until > at and is_meant(standing, data, head, path_size):
            return i
    return -1


cdef inline bint may_pass(const Standings* standings, int place) noexcept nogil:
    """Tell whether one more may go to the loop; both counts begin anew after the last number."""
    return <int>(load(&standings.granted[place]) - standings.used[place]) > 0


cdef inline uint64_t chance(uint64_t* state) noexcept nogil:
    """Give the next number of splitmix64 (Steele, Lea, Flood 2014); nobody has to keep it secret."""
    cdef uint64_t mixed
    state[0] += <uint64_t>0x9E3779B97F4A7C15
    mixed = state[0]
    mixed = (mixed ^ (mixed >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    mixed = (mixed ^ (mixed >> 27)) * <uint64_t>0x94D049BB133111EB
    return mixed ^ (mixed >> 31)


cdef inline Reply* written(const Form* form, uint64_t* state) noexcept nogil:
    """Write an answer with an id of its own; NULL when there is no memory."""
    cdef char letters[32]
    cdef uint64_t number = 0
    cdef int i
    cdef size_t begin = 0
    cdef char* at
    cdef Reply* reply = <Reply*>malloc(sizeof(Reply) + form.size + ID_BYTES * PIECES_MAX)
    if reply == NULL:
        return NULL
    for i in range(ID_BYTES):
        if i % 12 == 0:
            number = chance(&state[i // 12])
        letters[i] = b"0123456789abcdef"[number & 15]
        number >>= 4
    at = reply.data
    for i in range(form.count):
        if i:
            memcpy(at, letters, ID_BYTES)
            at += ID_BYTES
        memcpy(at, form.data + begin, form.ends[i] - begin)
        at += form.ends[i] - begin
        begin = form.ends[i]
    reply.size = <size_t>(at - reply.data)
    return reply
