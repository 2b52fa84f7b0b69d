//! Throttles, each question one transaction.

use crate::Error;
use crate::db::Db;
use crate::txn::Access;
use crate::txn::throttle::{Throttle, ThrottleError, Throttled};

/// Bytes of a record beside the key: a number and a deadline.
const RECORD_BYTES: usize = 64;

impl Db {
    /// Asks whether `quantity` more may come now, and counts them if so. A quantity of 0 only asks: nothing is counted or written.
    ///
    /// # Errors
    /// [`Error::Throttle`] if a number is out of range or the key holds a string that is not a throttle's; [`Error::WrongKind`]; those of
    /// [`set`](Self::set).
    pub fn throttle(&self, key: &[u8], throttle: Throttle, quantity: u64) -> Result<Throttled, Error> {
        self.write(key, RECORD_BYTES, Access::Write, |txn, key| txn.throttle(key, throttle, quantity))?
            .map_err(|error| match error {
                ThrottleError::WrongKind(error) => Error::WrongKind(error),
                error => Error::Throttle(error),
            })
    }
}
