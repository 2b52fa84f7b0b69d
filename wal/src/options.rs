//! What a log can be told at open.

use crate::{
    Lsn, WalError,
    limits::{
        BUFFER_BYTES_DEFAULT, PAGE_BYTES, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_FIRST, SEGMENT_BYTES_LIMIT,
        SEGMENT_BYTES_MIN,
    },
};

/// What an acknowledged record survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A power cut: acknowledged once synced.
    Always,
    /// Any crash of the process: acknowledged once written. A power cut loses at most the last second, if
    /// [`Wal::step`](crate::Wal::step) is called as it asks.
    #[default]
    EverySecond,
    /// Any crash of the process. The system decides when to sync.
    No,
}

impl Durability {
    pub(crate) fn to_u8(self) -> u8 {
        match self {
            Durability::Always => 0,
            Durability::EverySecond => 1,
            Durability::No => 2,
        }
    }

    pub(crate) fn from_u8(value: u8) -> Durability {
        match value {
            0 => Durability::Always,
            1 => Durability::EverySecond,
            _ => Durability::No,
        }
    }
}

/// Options of a log.
///
/// ```
/// use sessile_wal::{Durability, WalOptions};
///
/// let options = WalOptions::default().durability(Durability::Always).database_id([7; 16]);
/// assert_eq!(options.segment_bytes_max, 64 << 20);
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct WalOptions {
    /// What an acknowledged record survives. Default: [`Durability::EverySecond`].
    pub durability: Durability,
    /// Size of a log file once the log has grown, in bytes, rounded down to whole pages; 8 KiB to 1 GiB. The first
    /// file has at most 1 MiB, and each next one twice as much up to this. Default: 64 MiB.
    pub segment_bytes_max: u64,
    /// How much may be appended and not yet written before [`Wal::admit`](crate::Wal::admit) holds callers back, in
    /// bytes. Default: 64 MiB.
    pub buffer_bytes_max: usize,
    /// How much space released files may keep to be used again, in bytes. Default: 128 MiB.
    pub spare_bytes_max: u64,
    /// The database this log belongs to; random, given by the caller. Files of another are refused.
    pub database_id: [u8; 16],
    /// How far the log is known to have been durable, by something that was written down elsewhere: opening must find it intact that
    /// far, and refuses it otherwise instead of taking what is missing for a torn tail. Default: zero, nothing is known.
    pub known_durable: Lsn,
    /// The checksum of the batch that ends there ([`Wal::durable_end`](crate::Wal::durable_end)): a log that has another one there is another
    /// log, which a copy of this database has grown, and is refused. Default: 0, nothing is known.
    pub known_checksum: u32,
}

impl Default for WalOptions {
    fn default() -> WalOptions {
        WalOptions {
            durability: Durability::default(),
            segment_bytes_max: SEGMENT_BYTES_DEFAULT,
            buffer_bytes_max: BUFFER_BYTES_DEFAULT,
            spare_bytes_max: 2 * SEGMENT_BYTES_DEFAULT,
            database_id: [0; 16],
            known_durable: Lsn::ZERO,
            known_checksum: 0,
        }
    }
}

impl WalOptions {
    /// Sets [`WalOptions::durability`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> WalOptions {
        self.durability = durability;
        self
    }

    /// Sets [`WalOptions::segment_bytes_max`].
    #[must_use]
    pub fn segment_bytes_max(mut self, bytes: u64) -> WalOptions {
        self.segment_bytes_max = bytes;
        self
    }

    /// Sets [`WalOptions::buffer_bytes_max`].
    #[must_use]
    pub fn buffer_bytes_max(mut self, bytes: usize) -> WalOptions {
        self.buffer_bytes_max = bytes;
        self
    }

    /// Sets [`WalOptions::spare_bytes_max`].
    #[must_use]
    pub fn spare_bytes_max(mut self, bytes: u64) -> WalOptions {
        self.spare_bytes_max = bytes;
        self
    }

    /// Sets [`WalOptions::database_id`].
    #[must_use]
    pub fn database_id(mut self, id: [u8; 16]) -> WalOptions {
        self.database_id = id;
        self
    }

    /// Sets [`WalOptions::known_durable`].
    #[must_use]
    pub fn known_durable(mut self, lsn: Lsn) -> WalOptions {
        self.known_durable = lsn;
        self
    }

    /// Sets [`WalOptions::known_checksum`].
    #[must_use]
    pub fn known_checksum(mut self, checksum: u32) -> WalOptions {
        self.known_checksum = checksum;
        self
    }

    /// Checks the ranges and rounds.
    pub(crate) fn checked(mut self) -> Result<WalOptions, WalError> {
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_LIMIT).contains(&self.segment_bytes_max) {
            return Err(WalError::Option {
                name: "segment_bytes_max",
                value: self.segment_bytes_max,
                range: "8 KiB to 1 GiB",
            });
        }
        self.segment_bytes_max -= self.segment_bytes_max % PAGE_BYTES as u64;
        Ok(self)
    }

    /// Size of the first file.
    pub(crate) fn first_size(&self) -> u64 {
        SEGMENT_BYTES_FIRST.min(self.segment_bytes_max)
    }

    /// Size of the file after one of `size`.
    pub(crate) fn size_after(&self, size: u64) -> u64 {
        size.saturating_mul(2).clamp(self.first_size(), self.segment_bytes_max)
    }
}
