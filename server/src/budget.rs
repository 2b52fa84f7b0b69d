//! What many connections together may hold of one kind of memory: each may hold much only as long as not all do.
//!
//! Connections say how much they hold ([`Budget::change`]), small amounts not counted. Once the total is above the limit, whoever holds more than
//! its [share](Budget::share) is to give something up; as soon as enough have, the others go on. One word is written by all loops, when a
//! connection's amount changes and is large.

use std::sync::atomic::{AtomicUsize, Ordering};

/// See the module's page.
#[derive(Debug)]
pub struct Budget {
    bytes: AtomicUsize,
    holders: AtomicUsize,
    bytes_max: usize,
    counted_from: usize,
}

impl Budget {
    /// Of so many bytes in all, where amounts below `counted_from` are not counted.
    pub const fn new(bytes_max: usize, counted_from: usize) -> Budget {
        Budget { bytes: AtomicUsize::new(0), holders: AtomicUsize::new(0), bytes_max, counted_from }
    }

    /// Somebody who held what `counted` says, as this function last left it, holds `bytes`.
    #[inline]
    pub fn change(&self, counted: &mut usize, bytes: usize) {
        let bytes = if bytes < self.counted_from { 0 } else { bytes };
        if bytes == *counted {
            return;
        }
        if *counted == 0 {
            self.holders.fetch_add(1, Ordering::Relaxed);
        } else if bytes == 0 {
            self.holders.fetch_sub(1, Ordering::Relaxed);
        }
        // Wraps around where it falls.
        self.bytes.fetch_add(bytes.wrapping_sub(*counted), Ordering::Relaxed);
        *counted = bytes;
    }

    /// Whether all together hold more than they may.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.bytes_max
    }

    /// What each of those who hold anything may hold, so that it is not more than all may.
    pub fn share(&self) -> usize {
        (self.bytes_max / self.holders.load(Ordering::Relaxed).max(1)).max(self.counted_from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_holds_more_than_its_share_is_known() {
        let budget = Budget::new(1000, 10);
        let mut counted = [0; 4];
        for own in &mut counted {
            budget.change(own, 9);
        }
        assert!(!budget.is_over() && budget.share() == 1000, "what is small is not counted");
        budget.change(&mut counted[0], 900);
        budget.change(&mut counted[1], 50);
        assert!(!budget.is_over());
        budget.change(&mut counted[2], 60);
        assert!(budget.is_over() && budget.share() == 333);
        budget.change(&mut counted[0], 5);
        assert!(!budget.is_over() && budget.share() == 500);
        for own in &mut counted {
            budget.change(own, 0);
        }
        assert_eq!((budget.bytes.into_inner(), budget.holders.into_inner()), (0, 0));
    }
}
