// A driver without a device: the calls of libcuda that the back end makes, with the kernels' own text compiled for the
// processor. What runs is the indexing, the arithmetic and the order of waits of every thread of every block; what does not
// is the translation of the instructions at the head of mx8.cu, which are written again here as plain loops.
//
// A block's threads are fibers on one thread of the system. Which one goes on at a wait is chosen by a seed, so that a missing
// barrier shows. A copy to shared memory happens as late as its wait allows, shared memory starts as rubbish, and memory of
// the "device" ends where a page ends that cannot be read: what reads or writes beyond it dies.
//
//     g++ -std=c++17 -O2 -fwrapv -shared -fPIC -U_FORTIFY_SOURCE -Wno-unknown-pragmas -DTENSOR=1 -DKERNELS='"…/mx8.cu"' driver.cpp
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
#include <vector>

namespace emulated {

struct Index {
    unsigned x, y, z;
};
struct Copy {
    void* to;
    const void* from;
    bool wanted;
};
// Threads that wait for each other: a block, or a warp with what its threads show each other.
struct Meeting {
    unsigned size = 0, arrived = 0, round = 0;
    unsigned shown[2][32][8];
};
struct Fiber {
    ucontext_t start;
    jmp_buf here;
    bool started = false, done = false;
    Index index;
    std::vector<std::vector<Copy>> batches;
    std::vector<Copy> open;
};

constexpr size_t STACK = 128 << 10;
std::vector<Fiber> fibers;
std::vector<char> stacks;
std::vector<Meeting> warps;
Meeting block;
std::vector<unsigned char> shared;
Index block_index;
Fiber* current;
jmp_buf scheduler;
uint64_t seed = 1;
std::function<void()> body;

uint64_t next_random() {
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return seed;
}

void give_way() {
    if (_setjmp(current->here) == 0) _longjmp(scheduler, 1);
}

// Waits for all of a meeting; which of two boards was in use.
unsigned meet(Meeting& meeting) {
    const unsigned round = meeting.round;
    if (++meeting.arrived == meeting.size) {
        meeting.arrived = 0;
        meeting.round++;
    } else {
        while (meeting.round == round) give_way();
    }
    return round & 1;
}

Meeting& warp() { return warps[current->index.x / 32]; }
unsigned lane() { return current->index.x % 32; }

void enter() {
    body();
    current->done = true;
    _longjmp(scheduler, 1);
}

// Lets a fiber go on until it gives way or ends.
__attribute__((noinline)) void go_on(Fiber& fiber) {
    current = &fiber;
    if (_setjmp(scheduler) != 0) return;
    if (fiber.started) _longjmp(fiber.here, 1);
    fiber.started = true;
    setcontext(&fiber.start);
}

// One block of a grid.
void run_block(unsigned threads) {
    memset(shared.data(), 0xA5, shared.size());
    fibers.assign(threads, Fiber());
    stacks.resize(threads * STACK);
    warps.assign((threads + 31) / 32, Meeting());
    block = Meeting();
    block.size = threads;
    for (unsigned thread = 0; thread < threads; thread++) {
        Fiber& fiber = fibers[thread];
        fiber.index = {thread, 0, 0};
        warps[thread / 32].size++;
        getcontext(&fiber.start);
        fiber.start.uc_stack.ss_sp = stacks.data() + thread * STACK;
        fiber.start.uc_stack.ss_size = STACK;
        fiber.start.uc_link = nullptr;
        makecontext(&fiber.start, enter, 0);
    }
    unsigned left = threads;
    while (left > 0) {
        // Neighbours in a step that is odd, and so meets each of them.
        const unsigned from = next_random() % threads, step = next_random() % 16 * 2 + 1;
        for (unsigned count = 0; count < threads; count++) {
            Fiber& fiber = fibers[(from + count * step) % threads];
            if (fiber.done) continue;
            go_on(fiber);
            left -= fiber.done;
        }
    }
}

} // namespace emulated

#define EMULATED
#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(threads)
#define threadIdx (emulated::current->index)
#define blockIdx (emulated::block_index)
#define SHARED(name) unsigned char* name = emulated::shared.data()

struct uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(16) int4 {
    int x, y, z, w;
};
static int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
static unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
static void __syncthreads() { emulated::meet(emulated::block); }
static unsigned atomicAdd(unsigned* at, unsigned value) {
    const unsigned before = *at;
    *at += value;
    return before;
}

// Sums wrap, as the device's do.
static int wrapping_add(int a, int b) { return (int)((unsigned)a + (unsigned)b); }

[[maybe_unused]] static void dot_add(int& d, unsigned a, unsigned b) {
    for (int place = 0; place < 4; place++) {
        d = wrapping_add(d, (int)(a >> 8 * place & 255) * (int)(signed char)(b >> 8 * place & 255));
    }
}

// As the PTX manual lays m16n8k32 out: lane 4g+t has A's rows g and g+8, inner indices 4t… and 16+4t…, B's column g at the same
// indices, and of the result rows g and g+8, columns 2t and 2t+1.
[[maybe_unused]] static void multiply_add(int& d0, int& d1, int& d2, int& d3, uint2 low, uint2 high, unsigned b0, unsigned b1) {
    emulated::Meeting& warp = emulated::warp();
    const unsigned lane = emulated::lane(), g = lane / 4, t = lane % 4;
    const unsigned mine[6] = {low.x, low.y, high.x, high.y, b0, b1};
    memcpy(warp.shown[warp.round & 1][lane], mine, sizeof mine);
    const auto& shown = warp.shown[emulated::meet(warp)];
    int* const out[2][2] = {{&d0, &d1}, {&d2, &d3}};
    for (unsigned row = 0; row < 2; row++) {
        for (unsigned column = 0; column < 2; column++) {
            for (unsigned part = 0; part < 4; part++) {
                const auto& a = shown[4 * g + part];
                const auto& b = shown[4 * (2 * t + column) + part];
                dot_add(*out[row][column], a[row], b[4]);
                dot_add(*out[row][column], a[2 + row], b[5]);
            }
        }
    }
}

static unsigned over_warp(unsigned value) {
    emulated::Meeting& warp = emulated::warp();
    warp.shown[warp.round & 1][emulated::lane()][0] = value;
    const auto& shown = warp.shown[emulated::meet(warp)];
    unsigned all = 0;
    for (unsigned lane = 0; lane < warp.size; lane++) all ^= shown[lane][0];
    return all;
}

static void finish(const emulated::Copy& copy) {
    if (copy.wanted) memcpy(copy.to, copy.from, 16);
    else memset(copy.to, 0, 16);
}

static void copy(unsigned char* to, const unsigned char* from, bool wanted) {
    if (TENSOR) emulated::current->open.push_back({to, from, wanted});
    else finish({to, from, wanted});
}

static void batch() {
    emulated::current->batches.push_back(std::move(emulated::current->open));
    emulated::current->open.clear();
}

template <int OPEN> static void arrive() {
    auto& batches = emulated::current->batches;
    while (batches.size() > OPEN) {
        for (const emulated::Copy& copy : batches.front()) finish(copy);
        batches.erase(batches.begin());
    }
}

#include KERNELS

// --- the driver's calls ---------------------------------------------------------------------------------------------

namespace {

enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_FOUND = 500, LAUNCH_FAILED = 719 };

using Kernel = void (*)(const Work);
const std::map<std::string, Kernel> KERNELS_BY_NAME = {
    {"mx8_mine", mx8_mine}, {"mx8_multiply", mx8_multiply}, {"mx8_denoise", mx8_denoise}, {"mx8_top_words", mx8_top_words}};

std::mutex lock;
std::map<uint64_t, std::pair<void*, size_t>> allocations; // address: pages, their length
size_t memory_left = 4ull << 30;
int launches = 0;
int fails_at = 0; // which launch from now on fails; 0 is none

size_t pages_of(size_t bytes) {
    const size_t page = sysconf(_SC_PAGESIZE);
    return (bytes + page - 1) / page * page;
}

} // namespace

extern "C" {

// What tests set: the order of threads, a launch that fails, what memory there is.
void emulated_seed(uint64_t seed) { emulated::seed = seed * 2 + 1; }
void emulated_fail(int launch) { fails_at = launch; }
void emulated_memory(size_t bytes) { memory_left = bytes; }
int emulated_launches() { return launches; }
size_t emulated_allocations() { return allocations.size(); }

int cuInit(unsigned) { return SUCCESS; }
int cuDriverGetVersion(int* version) { return *version = 12000, SUCCESS; }
int cuDeviceGetCount(int* count) { return *count = 1, SUCCESS; }
int cuDeviceGet(int* device, int) { return *device = 0, SUCCESS; }
int cuDeviceGetName(char* name, int length, int) { return snprintf(name, length, "emulated"), SUCCESS; }
int cuDeviceGetAttribute(int* value, int attribute, int) {
    switch (attribute) {
    case 13: *value = 1000000; break;         // kHz
    case 16: *value = 1; break;               // multiprocessors
    case 75: *value = TENSOR ? 8 : 6; break;  // compute capability
    case 76: *value = TENSOR ? 0 : 1; break;
    case 97: *value = TENSOR ? 166912 : 49152; break; // shared memory of a block
    default: return INVALID_VALUE;
    }
    return SUCCESS;
}
int cuDevicePrimaryCtxRetain(void** context, int) { return *context = &lock, SUCCESS; }
int cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
int cuCtxSetCurrent(void* context) { return context == &lock ? SUCCESS : INVALID_VALUE; }
int cuMemGetInfo_v2(size_t* free, size_t* total) { return *free = *total = memory_left, SUCCESS; }
int cuModuleLoadData(void** module, const void* image) {
    // A program is text that ends with a zero.
    const bool fits = strstr((const char*)image, TENSOR ? ".target sm_80" : ".target sm_61");
    return *module = &allocations, fits ? SUCCESS : INVALID_VALUE;
}
int cuModuleUnload(void*) { return SUCCESS; }
int cuModuleGetFunction(void** function, void*, const char* name) {
    const auto found = KERNELS_BY_NAME.find(name);
    if (found == KERNELS_BY_NAME.end()) return NOT_FOUND;
    return *function = (void*)found->second, SUCCESS;
}
int cuFuncSetAttribute(void*, int attribute, int value) {
    return attribute == 8 && value <= (TENSOR ? 166912 : 49152) ? SUCCESS : INVALID_VALUE;
}
int cuMemAlloc_v2(uint64_t* address, size_t bytes) {
    std::lock_guard<std::mutex> guard(lock);
    if (bytes == 0) return INVALID_VALUE;
    if (bytes > memory_left) return OUT_OF_MEMORY;
    const size_t page = sysconf(_SC_PAGESIZE), length = pages_of(bytes);
    char* const pages = (char*)mmap(nullptr, length + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages, length, PROT_READ | PROT_WRITE) != 0) return OUT_OF_MEMORY;
    memset(pages, 0xA5, length);
    *address = (uint64_t)(pages + (length - bytes) / 16 * 16);
    memory_left -= bytes;
    allocations[*address] = {pages, bytes};
    return SUCCESS;
}
int cuMemFree_v2(uint64_t address) {
    std::lock_guard<std::mutex> guard(lock);
    const auto found = allocations.find(address);
    if (found == allocations.end()) return INVALID_VALUE;
    munmap(found->second.first, pages_of(found->second.second) + sysconf(_SC_PAGESIZE));
    memory_left += found->second.second;
    allocations.erase(found);
    return SUCCESS;
}
int cuMemcpyHtoD_v2(uint64_t to, const void* from, size_t bytes) { return memcpy((void*)to, from, bytes), SUCCESS; }
int cuMemcpyDtoH_v2(void* to, uint64_t from, size_t bytes) { return memcpy(to, (const void*)from, bytes), SUCCESS; }
int cuMemsetD8_v2(uint64_t to, unsigned char value, size_t bytes) { return memset((void*)to, value, bytes), SUCCESS; }
int cuLaunchKernel(void* function, unsigned width, unsigned height, unsigned depth, unsigned threads, unsigned y, unsigned z,
                   unsigned shared, void*, void** parameters, void**) {
    std::lock_guard<std::mutex> guard(lock);
    launches++;
    if (fails_at > 0 && --fails_at == 0) return LAUNCH_FAILED;
    if (width == 0 || height != 1 || depth != 1 || threads == 0 || threads > 1024 || y != 1 || z != 1) return INVALID_VALUE;
    Work work;
    memcpy(&work, parameters[0], sizeof work);
    emulated::shared.resize(shared);
    emulated::body = [=] { ((Kernel)function)(work); };
    for (unsigned block = 0; block < width; block++) {
        emulated::block_index = {block, 0, 0};
        emulated::run_block(threads);
    }
    return SUCCESS;
}
int cuGetErrorName(int code, const char** name) {
    *name = code == LAUNCH_FAILED ? "CUDA_ERROR_LAUNCH_FAILED" : code == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : nullptr;
    return *name ? SUCCESS : INVALID_VALUE;
}
}
