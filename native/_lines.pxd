"""The connections of the front's thread: their states, their bytes, and who waits for how long.

Those that wait for the same length of time stand in one queue in the order in which they began, so
that only the first has to be looked at.
"""

from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memmove

from native._post cimport Reply


cdef enum:                      # what a connection does
    FREE
    IDLE                        # nothing of a request has come
    PARTIAL                     # a part of one
    SERVED                      # a request is with the loop; nothing more is read
    WRITING                     # an answer is not wholly written


cdef struct Line:
    int file
    int state
    uint32_t birth              # counts the connections that stood here
    uint32_t turn               # counts their requests
    bint readable               # bytes, or the end, came that were not read yet
    bint ends                   # the caller will send no more
    double came_at              # when bytes were last read
    char* unread                # bytes that were read and not served yet
    size_t unread_size
    size_t unread_room
    size_t unread_seen          # so many of them were looked through for the end of a head
    Reply* reply                # what is being written
    size_t written
    double since                # since when it stands in its queue
    int before                  # its neighbours there; -1: none
    int after
    int queue                   # which; -1: none


cdef enum:                      # the queues
    QUIET                       # idle, or not taking an answer
    HALF                        # a request that is not whole
    QUEUES


cdef struct Lines:
    Line* all
    int count_max
    int count
    int free_first              # a list through `after`
    int first[QUEUES]
    int last[QUEUES]


cdef inline bint make_lines(Lines* lines, int count_max) noexcept nogil:
    cdef int i
    lines.all = <Line*>calloc(count_max, sizeof(Line))
    lines.count_max = count_max
    lines.count = 0
    lines.first[QUIET] = lines.last[QUIET] = lines.first[HALF] = lines.last[HALF] = -1
    lines.free_first = 0
    if lines.all == NULL:
        return False
    for i in range(count_max):
        lines.all[i].file = lines.all[i].queue = lines.all[i].before = -1
        lines.all[i].after = i + 1 if i + 1 < count_max else -1
    return True


cdef inline void leave_queue(Lines* lines, int which) noexcept nogil:
    cdef Line* line = &lines.all[which]
    if line.queue < 0:
        return
    if line.before >= 0:
        lines.all[line.before].after = line.after
    else:
        lines.first[line.queue] = line.after
    if line.after >= 0:
        lines.all[line.after].before = line.before
    else:
        lines.last[line.queue] = line.before
    line.queue = line.before = line.after = -1


cdef inline void enter_queue(Lines* lines, int which, int queue, double now) noexcept nogil:
    """Stand at the end of a queue, wherever it stood before."""
    cdef Line* line = &lines.all[which]
    leave_queue(lines, which)
    line.queue = queue
    line.since = now
    line.before = lines.last[queue]
    if line.before >= 0:
        lines.all[line.before].after = which
    else:
        lines.first[queue] = which
    lines.last[queue] = which


cdef inline int begin_line(Lines* lines, int file, double now) noexcept nogil:
    """Give a connection its place; there must be one."""
    cdef int which = lines.free_first
    cdef Line* line = &lines.all[which]
    lines.free_first = line.after
    lines.count += 1
    line.after = -1
    line.file = file
    line.state = IDLE
    line.birth += 1
    line.readable = line.ends = False
    enter_queue(lines, which, QUIET, now)
    return which


cdef inline void drop_unread(Line* line) noexcept nogil:
    free(line.unread)
    line.unread = NULL
    line.unread_size = line.unread_room = line.unread_seen = 0


cdef inline void drop_reply(Line* line) noexcept nogil:
    free(line.reply)
    line.reply = NULL
    line.written = 0


cdef inline void end_line(Lines* lines, int which) noexcept nogil:
    """Give a place back; whoever closes or took over the file has it no longer from here."""
    cdef Line* line = &lines.all[which]
    leave_queue(lines, which)
    drop_unread(line)
    drop_reply(line)
    line.file = -1
    line.state = FREE
    line.turn += 1              # an answer that is still to come finds nobody
    line.after = lines.free_first
    lines.free_first = which
    lines.count -= 1


cdef inline bint have_room(Line* line, size_t size) noexcept nogil:
    """Make room for so many unread bytes; False when there is no memory."""
    cdef char* moved
    cdef size_t room = line.unread_room or 1024
    if size <= line.unread_room:
        return True
    while room < size:
        room *= 2
    moved = <char*>realloc(line.unread, room)
    if moved == NULL:
        return False
    line.unread = moved
    line.unread_room = room
    return True


cdef inline bint keep_unread(Line* line, const char* data, size_t size) noexcept nogil:
    """Keep bytes, which may lie among those that are kept; False when there is no memory."""
    if line.unread != NULL and line.unread <= data < line.unread + line.unread_room:
        memmove(line.unread, data, size)
    elif have_room(line, size):
        memcpy(line.unread, data, size)
    else:
        return False
    line.unread_size = size
    line.unread_seen = 0
    return True
