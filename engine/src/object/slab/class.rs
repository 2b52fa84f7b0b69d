//! The sizes that slabs are cut into.
//!
//! Up to 512 bytes in steps of 8, since most sessions are there and each step wastes half of it on average; up to 1 KiB in steps of 16;
//! beyond, what divides a slab into a whole number of objects with nothing left over, at most an eighth apart.

use super::region::SLAB_BYTES;

/// Longer objects are the system allocator's.
pub(super) const BYTES_MAX: usize = 8 << 10;
/// Sizes are multiples of this.
pub(super) const GRAIN: usize = 8;
/// A freed object holds a link.
const BYTES_MIN: usize = 16;
const SMALL_MAX: usize = 512;
const MIDDLE_MAX: usize = 1 << 10;
/// Objects in a slab of each class beyond [`MIDDLE_MAX`].
const PER_SLAB: [usize; 27] = [
    60, 56, 52, 48, 44, 40, 37, 34, 32, 29, 27, 25, 23, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8,
];
const SMALL: usize = (SMALL_MAX - BYTES_MIN) / 8 + 1;
const MIDDLE: usize = (MIDDLE_MAX - SMALL_MAX) / 16;

/// How many there are.
pub(super) const CLASSES: usize = SMALL + MIDDLE + PER_SLAB.len();

const SIZES: [usize; CLASSES] = {
    let mut sizes = [0; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        sizes[class] = if class < SMALL {
            BYTES_MIN + class * 8
        } else if class < SMALL + MIDDLE {
            SMALL_MAX + (class - SMALL + 1) * 16
        } else {
            SLAB_BYTES / PER_SLAB[class - SMALL - MIDDLE] / GRAIN * GRAIN
        };
        class += 1;
    }
    sizes
};

const _: () = assert!(CLASSES <= u8::MAX as usize && SIZES[CLASSES - 1] == BYTES_MAX);

/// The class of each size, in grains, rounded up.
const CLASS_OF: [u8; BYTES_MAX / GRAIN + 1] = {
    let mut class_of = [0; BYTES_MAX / GRAIN + 1];
    let (mut grains, mut class) = (0, 0);
    while grains < class_of.len() {
        if grains * GRAIN > SIZES[class] {
            class += 1;
        }
        // Fewer than 256: see above.
        class_of[grains] = class as u8;
        grains += 1;
    }
    class_of
};

/// The smallest class whose objects have so many bytes; `None` if there is none.
#[inline]
pub(super) fn class_of(bytes: usize) -> Option<usize> {
    CLASS_OF.get(bytes.div_ceil(GRAIN)).map(|&class| usize::from(class))
}

/// The size of a class's objects.
#[inline]
pub(super) fn bytes_of(class: usize) -> usize {
    SIZES[class]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_gets_the_smallest_class_that_holds_it() {
        for bytes in 0..=BYTES_MAX {
            let class = class_of(bytes).expect("not too large");
            assert!(bytes_of(class) >= bytes, "{bytes}");
            assert!(class == 0 || bytes_of(class - 1) < bytes, "{bytes} fits class {}", class - 1);
        }
        assert_eq!((class_of(BYTES_MAX + 1), class_of(usize::MAX)), (None, None));
    }

    #[test]
    fn little_is_wasted() {
        for class in 1..CLASSES {
            let (smaller, bytes) = (bytes_of(class - 1), bytes_of(class));
            assert!(bytes.is_multiple_of(GRAIN));
            assert!(bytes - smaller <= 8.max(bytes / 8), "{smaller} → {bytes}");
            assert!(SLAB_BYTES % bytes <= SLAB_BYTES / 64, "{bytes} leaves {}", SLAB_BYTES % bytes);
        }
    }
}
