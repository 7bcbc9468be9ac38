// The kernels of the CUDA back end: M-6 and M-7 of docs/spec/matmul.md on a device.
//
// scripts/ptx makes the PTX files beside this one of it, by NVRTC. The tests' emulated driver compiles the same text for the
// processor: it defines EMULATED and TENSOR, and brings its own versions of the instructions at the head.
//
// Panels come as the other back ends have them: 256 quads a segment, a quad being four inner indices of sixteen lines, one
// word a line. A block of 256 threads works on 8 panels of A by 16 of B, a warp on 4 by 4. Which line of a panel is which row
// of a tensor instruction is ours to choose, as the sum of a tile's XOR has no order: lane 4g+t owns lines 2g and 2g+1 of A by
// lines 4t … 4t+3 of B, with and without tensor cores alike.

typedef unsigned char byte;
typedef unsigned int word;
typedef unsigned long long size;

// What each kernel is given. `Work` in cuda/work.rs is its twin.
struct Work {
    const byte* a;          // panels or traces of A; for mx8_top_words the words of the blocks
    const byte* b;          // panels or traces of B
    int* c;                 // the product, or null
    const int* corrections; // one a column: C starts from them, and else from what it holds
    word* transcripts;      // eight words a ticket, by segment, group and tile; or null
    word* winners;          // eleven words each: X_0 … X_7, i, j, s; for mx8_top_words the tops
    word* won;              // how many winners there were, more than fit included
    word groups;            // panels of A
    word tiles;             // panels of B
    word segments;
    word quads;             // of the last segment
    word stride;            // values from a row of C to the next
    word first;             // the number of A's first group
    word top;               // tickets whose top word is above it do not win
    word room;              // how many winners fit
    word key[8];
};
static_assert(sizeof(Work) == 120, "as cuda/work.rs has it");

#define GROUP 16
#define PANEL_BYTES 16384
#define TRACE_BYTES 6144
#define QUAD_BYTES 64
#define SLAB_QUADS 16 // what is brought near at a time: 64 inner indices
#define SLAB_BYTES (SLAB_QUADS * QUAD_BYTES)
#define SLABS 16 // of a segment; two are a stripe
#define ROWS 8
#define COLUMNS 16
#define SIDE 4 // panels of a warp, of each operand
#define STAGE_BYTES ((ROWS + COLUMNS) * SLAB_BYTES)
#define BASE 255
#define BAND 8 // blocks of rows that share their columns in the second-level cache

#ifndef EMULATED
#define TENSOR (__CUDA_ARCH__ >= 800)
#define SHARED(name) extern __shared__ uint4 name##_words[]; byte* name = (byte*)name##_words

// d += a·b for 16×32 bytes without sign and 32×8 with.
__device__ __forceinline__ void multiply_add(int& d0, int& d1, int& d2, int& d3, uint2 low, uint2 high, word b0, word b1) {
#if TENSOR
    asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(d0), "+r"(d1), "+r"(d2), "+r"(d3)
        : "r"(low.x), "r"(low.y), "r"(high.x), "r"(high.y), "r"(b0), "r"(b1));
#endif
}

// d += a·b for four bytes without sign and four with.
__device__ __forceinline__ void dot_add(int& d, word a, word b) {
    asm("dp4a.u32.s32 %0, %1, %2, %0;" : "+r"(d) : "r"(a), "r"(b));
}

// Sixteen bytes to shared memory, zeros if they are not wanted; there after `arrive`.
__device__ __forceinline__ void copy(byte* to, const byte* from, bool wanted) {
#if TENSOR
    const word place = (word)__cvta_generic_to_shared(to);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(place), "l"(from), "r"(wanted ? 16 : 0) : "memory");
#else
    *(uint4*)to = wanted ? *(const uint4*)from : make_uint4(0, 0, 0, 0);
#endif
}

// Ends a batch of copies.
__device__ __forceinline__ void batch() {
#if TENSOR
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until all but the last so many batches of this thread are there.
template <int OPEN>
__device__ __forceinline__ void arrive() {
#if TENSOR
    asm volatile("cp.async.wait_group %0;" ::"n"(OPEN) : "memory");
#endif
}

// The XOR over a warp.
__device__ __forceinline__ word over_warp(word value) {
#if TENSOR
    asm volatile("redux.sync.xor.b32 %0, %0, 0xffffffff;" : "+r"(value));
#else
#pragma unroll
    for (int step = 16; step > 0; step >>= 1) value ^= __shfl_xor_sync(0xffffffffu, value, step);
#endif
    return value;
}
#endif

// Slabs on their way or in use.
#define STAGES (TENSOR ? 4 : 2)

enum Kind { MINE, MULTIPLY, DENOISE };

typedef int Tile[8]; // a lane's part of a tile: two rows by four columns

// The last word of BLAKE3, keyed, of one block: what `top_words` of kernel/portable.rs computes.
__device__ __forceinline__ word turn(word value, int bits) { return value >> bits | value << (32 - bits); }

__device__ __forceinline__ void mix(word& a, word& b, word& c, word& d, word x, word y) {
    a += b + x;
    d = turn(d ^ a, 16);
    c += d;
    b = turn(b ^ c, 12);
    a += b + y;
    d = turn(d ^ a, 8);
    c += d;
    b = turn(b ^ c, 7);
}

__device__ __forceinline__ word top_word(const word (&key)[8], const word (&x)[8], word i, word j, word s) {
    word m[16] = {x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7], i, j, s, 0, 0, 0, 0, 0};
    word v[16] = {key[0], key[1], key[2], key[3], key[4], key[5], key[6], key[7], 0x6A09E667, 0xBB67AE85, 0x3C6EF372,
                  0xA54FF53A, 0, 0, 64, 1 << 4 | 1 | 1 << 1 | 1 << 3};
#pragma unroll
    for (int round = 0; round < 7; round++) {
        mix(v[0], v[4], v[8], v[12], m[0], m[1]);
        mix(v[1], v[5], v[9], v[13], m[2], m[3]);
        mix(v[2], v[6], v[10], v[14], m[4], m[5]);
        mix(v[3], v[7], v[11], v[15], m[6], m[7]);
        mix(v[0], v[5], v[10], v[15], m[8], m[9]);
        mix(v[1], v[6], v[11], v[12], m[10], m[11]);
        mix(v[2], v[7], v[8], v[13], m[12], m[13]);
        mix(v[3], v[4], v[9], v[14], m[14], m[15]);
        const word n[16] = {m[2], m[6], m[3], m[10], m[7], m[0], m[4], m[13], m[1], m[11], m[12], m[5], m[9], m[14], m[15], m[8]};
#pragma unroll
        for (int place = 0; place < 16; place++) m[place] = n[place];
    }
    return v[7] ^ v[15];
}

// Where a chunk of sixteen bytes lies in a slab: four lines of a quad. Every other two quads have their halves exchanged, so
// that no two lanes of a reading meet in a bank.
__device__ __forceinline__ word place_of(word quad, word chunk) {
    return quad * QUAD_BYTES + ((chunk ^ ((quad >> 1 & 1) << 1)) << 4);
}

// Brings a slab near: each thread one chunk of every fourth panel. What is outside is zero.
template <Kind KIND>
__device__ __forceinline__ void load(const Work& work, byte* stage, word slab, word row, word column) {
    const word chunk = threadIdx.x & 63, quad = chunk >> 2;
    size a_first, b_first, pitch;
    word quads = SLAB_QUADS;
    if (KIND == DENOISE) {
        // (U's high digit, F), (E, V's high digit), then the low digits: two slabs each.
        const word pair = slab >> 1, part = slab & 1;
        const word a_part = pair == 2 ? 2 : pair & 1, b_part = pair == 2 ? 0 : pair == 3 ? 2 : pair;
        a_first = a_part * 2048 + part * SLAB_BYTES;
        b_first = b_part * 2048 + part * SLAB_BYTES;
        pitch = TRACE_BYTES;
    } else {
        const word segment = slab / SLABS, within = slab % SLABS;
        a_first = (size)segment * work.groups * PANEL_BYTES + within * SLAB_BYTES;
        b_first = (size)segment * work.tiles * PANEL_BYTES + within * SLAB_BYTES;
        pitch = PANEL_BYTES;
        if (KIND == MULTIPLY && segment + 1 == work.segments) quads = work.quads - within * SLAB_QUADS;
    }
    byte* const near = stage + (threadIdx.x >> 6) * SLAB_BYTES + place_of(quad, chunk & 3);
#pragma unroll
    for (int step = 0; step < (ROWS + COLUMNS) / 4; step++) {
        const bool left = step < ROWS / 4;
        const word panel = (left ? row + step * 4 : column + step * 4 - ROWS) + (threadIdx.x >> 6);
        const bool wanted = panel < (left ? work.groups : work.tiles) && quad < quads;
        const byte* const far = left ? work.a + a_first : work.b + b_first;
        copy(near + step * 4 * SLAB_BYTES, wanted ? far + panel * pitch + chunk * 16 : far, wanted);
    }
    batch();
}

// Adds a slab's products to a warp's tiles; `a` and `b` are its first panels.
__device__ __forceinline__ void add_slab(Tile (&sums)[SIDE][SIDE], const byte* a, const byte* b, word lane) {
    const word g = lane >> 2, t = lane & 3;
#if TENSOR
#pragma unroll
    for (int first = 0; first < SLAB_QUADS; first += 8) {
        uint2 a_low[SIDE], a_high[SIDE], b_low[SIDE], b_high[SIDE];
        const word near = place_of(first + t, g >> 1) + (g & 1) * 8, far = near + 4 * QUAD_BYTES;
#pragma unroll
        for (int panel = 0; panel < SIDE; panel++) {
            a_low[panel] = *(const uint2*)(a + panel * SLAB_BYTES + near);
            a_high[panel] = *(const uint2*)(a + panel * SLAB_BYTES + far);
            b_low[panel] = *(const uint2*)(b + panel * SLAB_BYTES + near);
            b_high[panel] = *(const uint2*)(b + panel * SLAB_BYTES + far);
        }
#pragma unroll
        for (int i = 0; i < SIDE; i++) {
#pragma unroll
            for (int j = 0; j < SIDE; j++) {
                // Lines 0, 2, 4 … of B, then 1, 3, 5 …: a lane has 4t and 4t+2, then 4t+1 and 4t+3.
                Tile& d = sums[i][j];
                multiply_add(d[0], d[2], d[4], d[6], a_low[i], a_high[i], b_low[j].x, b_high[j].x);
                multiply_add(d[1], d[3], d[5], d[7], a_low[i], a_high[i], b_low[j].y, b_high[j].y);
            }
        }
    }
#else
#pragma unroll 1
    for (int quad = 0; quad < SLAB_QUADS; quad++) {
        uint2 rows[SIDE];
#pragma unroll
        for (int i = 0; i < SIDE; i++) {
            rows[i] = *(const uint2*)(a + i * SLAB_BYTES + place_of(quad, g >> 1) + (g & 1) * 8);
        }
#pragma unroll
        for (int j = 0; j < SIDE; j++) {
            const uint4 columns = *(const uint4*)(b + j * SLAB_BYTES + place_of(quad, t));
#pragma unroll
            for (int i = 0; i < SIDE; i++) {
                Tile& d = sums[i][j];
                dot_add(d[0], rows[i].x, columns.x);
                dot_add(d[1], rows[i].x, columns.y);
                dot_add(d[2], rows[i].x, columns.z);
                dot_add(d[3], rows[i].x, columns.w);
                dot_add(d[4], rows[i].y, columns.x);
                dot_add(d[5], rows[i].y, columns.y);
                dot_add(d[6], rows[i].y, columns.z);
                dot_add(d[7], rows[i].y, columns.w);
            }
        }
    }
#endif
}

// Puts a warp's tiles into the product.
template <Kind KIND>
__device__ __forceinline__ void store(const Work& work, const Tile (&sums)[SIDE][SIDE], word row, word column, word lane) {
    const word g = lane >> 2, t = lane & 3;
#pragma unroll
    for (int j = 0; j < SIDE; j++) {
        if (column + j >= work.tiles) continue;
        const word first = (column + j) * GROUP + 4 * t;
        int4 owed = make_int4(0, 0, 0, 0);
        if (KIND != MINE && work.corrections) owed = *(const int4*)(work.corrections + first);
#pragma unroll
        for (int i = 0; i < SIDE; i++) {
            if (row + i >= work.groups) continue;
#pragma unroll
            for (int line = 0; line < 2; line++) {
                int4* const at = (int4*)(work.c + ((size)(row + i) * GROUP + 2 * g + line) * work.stride + first);
                const int* const sum = sums[i][j] + 4 * line;
                int4 value = KIND != MINE && work.corrections ? owed : *at;
                if (KIND == DENOISE) {
                    value.x -= sum[0], value.y -= sum[1], value.z -= sum[2], value.w -= sum[3];
                } else {
                    value.x += sum[0], value.y += sum[1], value.z += sum[2], value.w += sum[3];
                }
                *at = value;
            }
        }
    }
}

// A lane's ticket: hashed, and kept if it may win.
__device__ __forceinline__ void judge(const Work& work, const word (&x)[8], word group, word tile, word segment) {
    if (group >= work.groups || tile >= work.tiles) return;
    if (work.transcripts) {
        word* const out = work.transcripts + (((size)segment * work.groups + group) * work.tiles + tile) * 8;
#pragma unroll
        for (int stripe = 0; stripe < 8; stripe++) out[stripe] = x[stripe];
    }
    if (!work.winners) return;
    const word i = work.first + group;
    if (top_word(work.key, x, i, tile, segment) > work.top) return;
    const word place = atomicAdd(work.won, 1u);
    if (place >= work.room) return;
    word* const out = work.winners + (size)place * 11;
#pragma unroll
    for (int stripe = 0; stripe < 8; stripe++) out[stripe] = x[stripe];
    out[8] = i, out[9] = tile, out[10] = segment;
}

// Looks at a warp's tiles after a stripe: lane 16·half + n keeps the XOR of tile n, the last eight of them.
__device__ __forceinline__ void look(const Tile (&sums)[SIDE][SIDE], word (&x)[8], word lane, word half) {
    word own = 0;
#pragma unroll
    for (word n = 0; n < SIDE * SIDE; n++) {
        const Tile& d = sums[n / SIDE][n % SIDE];
        const word seen = over_warp(d[0] ^ d[1] ^ d[2] ^ d[3] ^ d[4] ^ d[5] ^ d[6] ^ d[7]);
        if ((lane & 15) == n) own = seen;
    }
    if (lane >> 4 != half) return;
#pragma unroll
    for (int stripe = 0; stripe < 7; stripe++) x[stripe] = x[stripe + 1];
    x[7] = own;
}

// After a segment of a mined product: the product grows, the tickets of every second segment are hashed, one a lane.
__device__ __forceinline__ void end_segment(
    const Work& work, Tile (&sums)[SIDE][SIDE], const word (&x)[8], word row, word column, word lane, word segment) {
    if (work.c) store<MINE>(work, sums, row, column, lane);
#pragma unroll
    for (int n = 0; n < SIDE * SIDE * 8; n++) sums[n / 8 / SIDE][n / 8 % SIDE][n % 8] = 0;
    const word half = segment & 1, mine = lane >> 4;
    if (half == 0 && segment + 1 < work.segments) return;
    if (mine > half) return;
    const word n = lane & 15;
    judge(work, x, row + n / SIDE, column + n % SIDE, segment - half + mine);
}

template <Kind KIND>
__device__ __forceinline__ void run(const Work& work) {
    SHARED(memory);
    const word lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const word high = (work.groups + ROWS - 1) / ROWS, wide = (work.tiles + COLUMNS - 1) / COLUMNS;
    const word band = blockIdx.x / (BAND * wide), within = blockIdx.x % (BAND * wide);
    const word height = min(high - band * BAND, (word)BAND);
    const word block_row = (band * BAND + within % height) * ROWS, block_column = within / height * COLUMNS;
    const word warp_row = warp / (COLUMNS / SIDE) * SIDE, warp_column = warp % (COLUMNS / SIDE) * SIDE;
    const word row = block_row + warp_row, column = block_column + warp_column;
    const bool outside = row >= work.groups || column >= work.tiles;

    word slabs = work.segments * SLABS;
    if (KIND == MULTIPLY) slabs -= SLABS - (work.quads + SLAB_QUADS - 1) / SLAB_QUADS;
    if (KIND == DENOISE) slabs = 8;

    Tile sums[SIDE][SIDE];
    word x[8];
#pragma unroll
    for (int n = 0; n < SIDE * SIDE * 8; n++) sums[n / 8 / SIDE][n / 8 % SIDE][n % 8] = 0;
#pragma unroll
    for (int stripe = 0; stripe < 8; stripe++) x[stripe] = 0;
#pragma unroll
    for (word stage = 0; stage < STAGES - 1; stage++) {
        if (stage < slabs) load<KIND>(work, memory + stage * STAGE_BYTES, stage, block_row, block_column);
        else batch();
    }
#pragma unroll 1
    for (word slab = 0; slab < slabs; slab++) {
        arrive<STAGES - 2>();
        // All have what they brought, and are done with the slab before, whose place the next one takes.
        __syncthreads();
        const word next = slab + STAGES - 1;
        if (next < slabs) load<KIND>(work, memory + next % STAGES * STAGE_BYTES, next, block_row, block_column);
        else batch();
        if (outside) continue;
        const byte* const stage = memory + slab % STAGES * STAGE_BYTES;
        add_slab(sums, stage + warp_row * SLAB_BYTES, stage + (ROWS + warp_column) * SLAB_BYTES, lane);
        if (KIND == MINE && slab % 2 == 1) look(sums, x, lane, slab / SLABS & 1);
        if (KIND == MINE && slab % SLABS == SLABS - 1) end_segment(work, sums, x, row, column, lane, slab / SLABS);
        if (KIND == DENOISE && slab == 3) {
#pragma unroll
            for (int n = 0; n < SIDE * SIDE * 8; n++) sums[n / 8 / SIDE][n / 8 % SIDE][n % 8] *= BASE;
        }
    }
    if (KIND != MINE && !outside) store<KIND>(work, sums, row, column, lane);
}

// Tickets of a product, and the product added to C if there is one.
extern "C" __global__ void __launch_bounds__(256) mx8_mine(const Work work) { run<MINE>(work); }

// C = C + A·B, or corrections + A·B.
extern "C" __global__ void __launch_bounds__(256) mx8_multiply(const Work work) { run<MULTIPLY>(work); }

// C = corrections − U·F − E·V.
extern "C" __global__ void __launch_bounds__(256) mx8_denoise(const Work work) { run<DENOISE>(work); }

// The top words of sixteen blocks that come word after word.
extern "C" __global__ void mx8_top_words(const Work work) {
    const word* const words = (const word*)work.a;
    word x[8];
    for (int stripe = 0; stripe < 8; stripe++) x[stripe] = words[stripe * 16 + threadIdx.x];
    word* const out = work.winners + threadIdx.x;
    *out = top_word(work.key, x, words[8 * 16 + threadIdx.x], words[9 * 16 + threadIdx.x], words[10 * 16 + threadIdx.x]);
}
