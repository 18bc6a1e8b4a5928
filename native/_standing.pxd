"""Refusals that stand: what the loop has just refused, the front's thread refuses alike for a while.

The loop says how many may come to it all the same before it looks again, so that it learns at once
when there is room, and for how long its word holds.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcmp, memcpy

from native._head cimport KEY_ID_BYTES, Head
from native._post cimport Reply


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
    unsigned passes             # so many go to the loop yet
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


cdef inline bint is_alike(const Standing* one, const Standing* other) noexcept nogil:
    return (
        one.method_size == other.method_size
        and one.path_size == other.path_size
        and one.key_size == other.key_size
        and memcmp(one.asks, other.asks, one.method_size + one.path_size + one.key_size) == 0
    )


cdef inline void stand(Standing** all, const Standing* new) noexcept nogil:
    """Keep what stands from now in the place of its like, or of the one that ends first."""
    cdef int i, place = 0
    for i in range(STANDING_MAX):
        if all[i] == NULL:
            place = i
            all[i] = <Standing*>malloc(sizeof(Standing))
            if all[i] == NULL:
                return
            break
        if is_alike(all[i], new):
            place = i
            break
        if all[i].until < all[place].until:
            place = i
    all[place][0] = new[0]


cdef inline Standing* against(Standing** all, const char* data, const Head* head, double at) noexcept nogil:
    """Find what stands against such a request; NULL where it goes to the loop."""
    cdef int i
    cdef size_t path_size
    if all[0] == NULL:
        return NULL
    path_size = path_size_of(data, head)
    for i in range(STANDING_MAX):
        if all[i] == NULL:
            return NULL
        if all[i].until > at and is_meant(all[i], data, head, path_size):
            if all[i].passes:
                all[i].passes -= 1
                return NULL
            return all[i]
    return NULL


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
