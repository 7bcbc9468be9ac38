//! AMX-INT8: one `tdpbusd` multiplies sixteen rows by sixteen columns over 64 inner indices.
//!
//! The intrinsics are not stable, so the instructions are written out. A tile of A needs its rows one
//! after the other, 64 inner indices each; a panel is turned into that form once for all tiles of B. What
//! AMX does not help is AVX-512's, which every processor with AMX has.

use std::arch::asm;
use std::sync::OnceLock;

use crate::kernel::{Kernel, Rows, Transcript, avx512};
use crate::panel::{Panel, QUAD};
use crate::shape::{GROUP, LEAF_BYTES, SEGMENT, STRIPES};

/// Inner indices of one tile.
const DEPTH: usize = 64;
const BLOCK: usize = GROUP * DEPTH;
/// Blocks of a stripe.
const STRIPE_BLOCKS: usize = 2;
/// Tiles of B at a time, each with a tile register of sums.
const TILES: usize = 3;

/// Linux gives tile registers to a process that asks (Documentation/arch/x86/xstate.rst).
const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
const XFEATURE_XTILEDATA: usize = 18;
const SYS_ARCH_PRCTL: usize = 158;

pub(super) fn kernel() -> Option<Kernel> {
    static ALLOWED: OnceLock<bool> = OnceLock::new();
    avx512::kernel().filter(|_| *ALLOWED.get_or_init(|| has_amx() && ask_for_tiles())).map(
        |avx512| Kernel {
            // SAFETY: AVX-512's table is there, so the processor has what both are compiled for.
            mine: |a, b, rows, transcripts| unsafe { mine(a, b, rows, transcripts) },
            // SAFETY: as above.
            multiply: |a, b, quads, rows| unsafe { multiply(a, b, quads, rows) },
            ..avx512
        },
    )
}

/// AMX-TILE and AMX-INT8 (leaf 7: EDX bits 24 and 25), and an operating system that saves both kinds of
/// tile state (XCR0 bits 17 and 18).
fn has_amx() -> bool {
    let leaf = std::arch::x86_64::__cpuid_count(7, 0);
    let saves = std::arch::x86_64::__cpuid(1).ecx >> 27 & 1 == 1;
    if leaf.edx >> 24 & 3 != 3 || !saves {
        return false;
    }
    let (low, high): (u32, u32);
    // SAFETY: OSXSAVE is set, so XGETBV exists; it reads a register.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack));
    }
    let _ = high;
    low >> 17 & 3 == 3
}

#[cfg(target_os = "linux")]
fn ask_for_tiles() -> bool {
    let answer: isize;
    // SAFETY: arch_prctl(ARCH_REQ_XCOMP_PERM) takes two numbers and touches no memory of ours; a system
    // call overwrites rcx and r11.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") SYS_ARCH_PRCTL => answer,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    answer == 0
}

#[cfg(not(target_os = "linux"))]
fn ask_for_tiles() -> bool {
    false
}

/// Palette 1: eight tiles of sixteen rows of 64 bytes.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static CONFIGURATION: Configuration = Configuration {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// A's rows, one after the other, in blocks of 64 inner indices.
#[repr(align(64))]
struct RowBlocks([u8; LEAF_BYTES]);

/// Inlined, as the passes below over sums, so that it is compiled with AVX-512's instructions: what the tiles
/// do not do must be short enough to hide behind them.
#[inline(always)]
fn row_blocks(a: &Panel) -> Box<RowBlocks> {
    let mut blocks = Box::new(RowBlocks([0; LEAF_BYTES]));
    for (block, quads) in blocks.0.chunks_exact_mut(BLOCK).zip(a.0.chunks_exact(BLOCK)) {
        for (quad, values) in quads.chunks_exact(QUAD).enumerate() {
            for (line, four) in values.chunks_exact(4).enumerate() {
                block[line * DEPTH + quad * 4..][..4].copy_from_slice(four);
            }
        }
    }
    blocks
}

/// The sums of up to three tiles.
#[repr(align(64))]
struct Sums([[[i32; GROUP]; GROUP]; TILES]);

/// Configures the tile registers and clears the sums; lets them go when dropped.
struct Tiles;

impl Tiles {
    fn configure() -> Self {
        // SAFETY: `kernel` saw AMX and the permission to use it; the operand is a 64-byte configuration.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const CONFIGURATION, options(nostack, readonly));
        }
        Self
    }

    fn clear(&self) {
        // SAFETY: the tiles are configured while `self` lives.
        unsafe {
            asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", options(nomem, nostack));
        }
    }

    /// Adds one block of A times one block of each panel of B. Missing panels repeat the first; their
    /// sums are not looked at.
    ///
    /// # Safety
    /// `a` and each of `b` point to 1,024 bytes.
    unsafe fn add(&self, a: *const u8, b: [*const u8; TILES]) {
        // SAFETY: the tiles are configured while `self` lives; the caller's for the memory.
        unsafe {
            asm!(
                "tileloadd tmm3, [{a} + {row}]",
                "tileloadd tmm4, [{x} + {row}]",
                "tileloadd tmm5, [{y} + {row}]",
                "tileloadd tmm6, [{z} + {row}]",
                "tdpbusd tmm0, tmm3, tmm4",
                "tdpbusd tmm1, tmm3, tmm5",
                "tdpbusd tmm2, tmm3, tmm6",
                a = in(reg) a,
                x = in(reg) b[0],
                y = in(reg) b[1],
                z = in(reg) b[2],
                row = in(reg) 64_usize,
                options(nostack, readonly),
            );
        }
    }

    fn read(&self, sums: &mut Sums) {
        let [x, y, z] = &mut sums.0;
        // SAFETY: the tiles are configured while `self` lives; each takes 16 rows of 64 bytes.
        unsafe {
            asm!(
                "tilestored [{x} + {row}], tmm0",
                "tilestored [{y} + {row}], tmm1",
                "tilestored [{z} + {row}], tmm2",
                x = in(reg) x.as_mut_ptr(),
                y = in(reg) y.as_mut_ptr(),
                z = in(reg) z.as_mut_ptr(),
                row = in(reg) 64_usize,
                options(nostack),
            );
        }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: the tiles were configured; nothing uses them any more.
        unsafe { asm!("tilerelease", options(nomem, nostack)) };
    }
}

/// Walks the blocks of up to three panels and shows the sums after each stripe and at the end.
#[inline(always)]
fn walk(
    tiles: &Tiles,
    a: &RowBlocks,
    b: &[Panel],
    blocks: usize,
    mut see: impl FnMut(usize, &Sums),
) -> Sums {
    let pointers: [*const u8; TILES] =
        std::array::from_fn(|place| b.get(place).unwrap_or(&b[0]).0.as_ptr());
    let mut sums = Sums([[[0; GROUP]; GROUP]; TILES]);
    tiles.clear();
    for block in 0..blocks {
        // SAFETY: a panel has sixteen blocks of 1,024 bytes, and `blocks` is at most that.
        unsafe {
            let at = block * BLOCK;
            tiles.add(a.0.as_ptr().wrapping_add(at), pointers.map(|panel| panel.wrapping_add(at)));
        }
        if (block + 1).is_multiple_of(STRIPE_BLOCKS) {
            tiles.read(&mut sums);
            see(block / STRIPE_BLOCKS, &sums);
        }
    }
    if !blocks.is_multiple_of(STRIPE_BLOCKS) {
        tiles.read(&mut sums);
    }
    sums
}

#[inline(always)]
fn add_to(rows: &mut Rows<'_>, (group, tile): (usize, usize), sums: &[[i32; GROUP]; GROUP]) {
    for (row, sums) in (group * GROUP..).zip(sums) {
        for (value, sum) in rows.place(row, tile).iter_mut().zip(sums) {
            *value = value.wrapping_add(*sum);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn mine(a: &[Panel], b: &[Panel], rows: &mut Rows<'_>, transcripts: &mut [Transcript]) {
    let tiles = Tiles::configure();
    for ((group, a), transcripts) in a.iter().enumerate().zip(transcripts.chunks_mut(b.len())) {
        let a = row_blocks(a);
        let parts = b.chunks(TILES).zip(transcripts.chunks_mut(TILES)).enumerate();
        for (part, (b, transcripts)) in parts {
            let sums = walk(&tiles, &a, b, STRIPES * STRIPE_BLOCKS, |stripe, sums| {
                for (transcript, sums) in transcripts.iter_mut().zip(&sums.0) {
                    transcript[stripe] =
                        sums.as_flattened().iter().fold(0, |seen, sum| seen ^ sum.cast_unsigned());
                }
            });
            for (place, sums) in sums.0.iter().enumerate().take(b.len()) {
                add_to(rows, (group, part * TILES + place), sums);
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn multiply(a: &[Panel], b: &[Panel], quads: usize, rows: &mut Rows<'_>) {
    let whole = quads.min(SEGMENT / 4);
    // What does not fill a block is AVX-512's.
    if !(whole * 4).is_multiple_of(DEPTH) {
        return (avx512::KERNEL.multiply)(a, b, quads, rows);
    }
    let tiles = Tiles::configure();
    for (group, a) in a.iter().enumerate() {
        let a = row_blocks(a);
        for (part, b) in b.chunks(TILES).enumerate() {
            let sums = walk(&tiles, &a, b, whole * 4 / DEPTH, |_, _| ());
            for (place, sums) in sums.0.iter().enumerate().take(b.len()) {
                add_to(rows, (group, part * TILES + place), sums);
            }
        }
    }
}
