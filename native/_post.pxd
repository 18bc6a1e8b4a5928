"""What goes between the front's thread and the loop's: rings of letters, and bells that wake.

Each ring has one who puts in and one who takes out.  A bell is rung only where the other side may
sleep: whoever goes to sleep says so first and looks into its ring once more.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from posix.unistd cimport write

from native._head cimport Head

cdef extern from *:
    """
    static inline unsigned fg_load(const unsigned* at)
    { return __atomic_load_n(at, __ATOMIC_ACQUIRE); }
    static inline void fg_store(unsigned* at, unsigned value)
    { __atomic_store_n(at, value, __ATOMIC_RELEASE); }
    static inline unsigned fg_swap(unsigned* at, unsigned value)
    { return __atomic_exchange_n(at, value, __ATOMIC_SEQ_CST); }
    static inline void fg_add(unsigned* at, int value)
    { __atomic_add_fetch(at, value, __ATOMIC_SEQ_CST); }
    static inline void fg_fence(void)
    { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
    """
    unsigned load "fg_load"(const unsigned* at) noexcept nogil
    void store "fg_store"(unsigned* at, unsigned value) noexcept nogil
    unsigned swap "fg_swap"(unsigned* at, unsigned value) noexcept nogil
    void add "fg_add"(unsigned* at, int value) noexcept nogil
    void fence "fg_fence"() noexcept nogil


cdef enum:
    STANDS = 0xFFFFFFF          # the line of a reply that is for nobody, but stands for many


cdef struct Arrival:            # to the loop: a whole plain request, or a connection to take over
    uint32_t line               # whose it is
    uint32_t turn               # and which of its requests
    int file                    # of a connection that is handed over; -1: a request
    int leave                   # the place of what stands, by whose leave it came; -1: of none
    double came_at              # when its last bytes came, in seconds of the monotonic clock
    size_t size
    Head head                   # of a request
    char data[1]                # so many bytes as `size` says


cdef struct Reply:              # to the thread; without bytes it only ends the connection
    uint32_t line
    uint32_t turn
    bint closes
    size_t size
    char data[1]


cdef struct Ring:
    void** places
    unsigned mask
    unsigned taken              # counted on by the one who takes
    unsigned put                # counted on by the one who puts


cdef inline bint make_ring(Ring* ring, unsigned items) noexcept nogil:
    """Make room for so many letters at least; False when there is no memory."""
    cdef unsigned room = 16
    while room < items:
        room *= 2
    ring.places = <void**>calloc(room, sizeof(void*))
    ring.mask = room - 1
    ring.taken = ring.put = 0
    return ring.places != NULL


cdef inline bint is_empty(Ring* ring) noexcept nogil:
    return load(&ring.put) == load(&ring.taken)


cdef inline bint put(Ring* ring, void* letter) noexcept nogil:
    """Put a letter in; False when the ring is full."""
    cdef unsigned at = ring.put
    if at - load(&ring.taken) > ring.mask:
        return False
    ring.places[at & ring.mask] = letter
    store(&ring.put, at + 1)
    return True


cdef inline void* take(Ring* ring) noexcept nogil:
    """Take the oldest letter out; NULL when there is none."""
    cdef unsigned at = ring.taken
    cdef void* letter
    if at == load(&ring.put):
        return NULL
    letter = ring.places[at & ring.mask]
    store(&ring.taken, at + 1)
    return letter


cdef inline void drop_ring(Ring* ring) noexcept nogil:
    """Free a ring with all that is in it."""
    cdef void* letter
    if ring.places == NULL:
        return
    letter = take(ring)
    while letter != NULL:
        free(letter)
        letter = take(ring)
    free(ring.places)
    ring.places = NULL


cdef inline void ring_bell(int bell) noexcept nogil:
    """Wake whoever waits for this eventfd; a count that is full wakes as well."""
    cdef uint64_t one = 1
    cdef ssize_t ignored = write(bell, &one, sizeof(one))
    if ignored < 0:
        return
