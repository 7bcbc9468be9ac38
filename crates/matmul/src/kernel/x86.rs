//! What the back ends of x86-64 have alike.

/// The table of a back end whose `mine`, `multiply` and `denoise` stand beside it, all
/// compiled for these features, and the portable functions compiled for them once more. A back end may
/// have its own way of hashing. It hands the table out only where the processor has the features.
macro_rules! kernel_for {
    ($features:tt) => {
        #[target_feature(enable = $features)]
        fn top_words(
            key: &[u32; 8],
            words: &[[u32; $crate::shape::GROUP]; 11],
        ) -> [u32; $crate::shape::GROUP] {
            $crate::kernel::portable::top_words(key, words)
        }

        $crate::kernel::x86::kernel_for!($features, top_words);
    };
    ($features:tt, $top_words:path) => {
        // SAFETY, of every function below: `kernel` hands them out only where the processor has the
        // features that they are compiled for.
        pub(super) const KERNEL: $crate::kernel::Kernel = $crate::kernel::Kernel {
            // SAFETY: see above.
            mine: |a, b, rows, transcripts| unsafe { mine(a, b, rows, transcripts) },
            // SAFETY: see above.
            multiply: |a, b, quads, rows| unsafe { multiply(a, b, quads, rows) },
            // SAFETY: see above.
            denoise: |a, b, corrections, rows| unsafe { denoise(a, b, corrections, rows) },
            // SAFETY: see above.
            prepare: |group, panels| unsafe { prepare(group, panels) },
            // SAFETY: see above.
            pack: |lines, k, raise, panels| unsafe { pack(lines, k, raise, panels) },
            // SAFETY: see above.
            top_words: |key, words| unsafe { $top_words(key, words) },
        };

        #[target_feature(enable = $features)]
        fn prepare(
            group: $crate::kernel::Group<'_>,
            panels: &mut [&mut $crate::panel::Panel],
        ) -> $crate::kernel::Prepared {
            $crate::kernel::portable::prepare_with(
                group,
                panels,
                $crate::kernel::transpose::transpose,
            )
        }

        #[target_feature(enable = $features)]
        fn pack(lines: &[i8], k: usize, raise: u8, panels: &mut [&mut $crate::panel::Panel]) {
            $crate::panel::pack(lines, k, raise, panels, $crate::kernel::transpose::transpose);
        }
    };
}
pub(super) use kernel_for;
