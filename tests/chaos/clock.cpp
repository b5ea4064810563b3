// Preloaded into programs, it shifts the time of day that they see. The shift in seconds, an int64, is in the file $CHAOS_CLOCK,
// which another process can change at any time. Monotonic clocks stay as they are, as when somebody sets the clock of a machine.

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

namespace {

const time_t EPOCHAL = 1000000000;  // of a condition variable, deadlines before 2001 are those of a monotonic clock

const volatile int64_t* map_shift() {
    static const int64_t none = 0;
    const char* path = getenv("CHAOS_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void* found = fd < 0 ? MAP_FAILED : mmap(nullptr, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
    if (fd >= 0) close(fd);
    return found == MAP_FAILED ? &none : static_cast<const int64_t*>(found);
}

int64_t shift() {
    static const volatile int64_t* value = map_shift();
    return *value;
}

template <class F> F next(const char* name, const char* version = nullptr) {
    void* found = version ? dlvsym(RTLD_NEXT, name, version) : nullptr;
    return reinterpret_cast<F>(found ? found : dlsym(RTLD_NEXT, name));
}

// The kernel waits by the true clock.
timespec true_deadline(const timespec* deadline) {
    timespec result = *deadline;
    if (result.tv_sec > EPOCHAL) result.tv_sec -= shift();
    return result;
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* result) noexcept {
    static auto original = next<int (*)(clockid_t, timespec*)>("clock_gettime");
    int status = original(clock, result);
    if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) result->tv_sec += shift();
    return status;
}

time_t time(time_t* result) noexcept {
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result) *result = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(timeval* result, void*) noexcept {
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    result->tv_sec = now.tv_sec;
    result->tv_usec = now.tv_nsec / 1000;
    return 0;
}

int sem_timedwait(sem_t* semaphore, const timespec* deadline) {
    static auto original = next<int (*)(sem_t*, const timespec*)>("sem_timedwait");
    timespec wanted = true_deadline(deadline);
    return original(semaphore, &wanted);
}

int pthread_mutex_timedlock(pthread_mutex_t* mutex, const timespec* deadline) noexcept {
    static auto original = next<int (*)(pthread_mutex_t*, const timespec*)>("pthread_mutex_timedlock");
    timespec wanted = true_deadline(deadline);
    return original(mutex, &wanted);
}

int pthread_cond_timedwait(pthread_cond_t* condition, pthread_mutex_t* mutex, const timespec* deadline) {
    static auto original = next<int (*)(pthread_cond_t*, pthread_mutex_t*, const timespec*)>("pthread_cond_timedwait", "GLIBC_2.3.2");
    timespec wanted = true_deadline(deadline);
    return original(condition, mutex, &wanted);
}

}  // extern "C"
