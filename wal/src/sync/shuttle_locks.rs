//! Shuttle's locks with `parking_lot`'s interface, as far as it is used. A wait with a time limit has none: what relies on its limit stands
//! still under the model, and is found.

use shuttle::sync as model;
use std::ops::{Deref, DerefMut};
use std::sync::{PoisonError, TryLockError};
use std::time::Duration;

/// As `parking_lot::Mutex`.
#[derive(Default)]
pub struct Mutex<T: ?Sized>(model::Mutex<T>);

/// As `parking_lot::MutexGuard`.
pub struct MutexGuard<'a, T: ?Sized> {
    lock: &'a Mutex<T>,
    /// `None` while a condition is waited for.
    held: Option<model::MutexGuard<'a, T>>,
}

impl<T> Mutex<T> {
    /// As `parking_lot::Mutex::new`.
    pub const fn new(value: T) -> Mutex<T> {
        Mutex(model::Mutex::new(value))
    }

    /// As `parking_lot::Mutex::into_inner`.
    pub fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: ?Sized> Mutex<T> {
    /// As `parking_lot::Mutex::lock`.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard { lock: self, held: Some(self.0.lock().unwrap_or_else(PoisonError::into_inner)) }
    }

    /// As `parking_lot::Mutex::try_lock`.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let held = match self.0.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(MutexGuard { lock: self, held: Some(held) })
    }

    /// As `parking_lot::Mutex::get_mut`.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: ?Sized> std::fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mutex")
    }
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// As `parking_lot::MutexGuard::unlocked`.
    pub fn unlocked<R>(guard: &mut Self, work: impl FnOnce() -> R) -> R {
        guard.held = None;
        let result = work();
        guard.held = guard.lock.lock().held;
        result
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.held {
            Some(held) => held,
            None => unreachable!("who waits for a condition doesn't look"),
        }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.held {
            Some(held) => held,
            None => unreachable!("who waits for a condition doesn't look"),
        }
    }
}

/// As `parking_lot::WaitTimeoutResult`; a time limit never comes.
#[derive(Clone, Copy, Debug)]
pub struct WaitTimeoutResult;

impl WaitTimeoutResult {
    /// As `parking_lot::WaitTimeoutResult::timed_out`.
    pub fn timed_out(self) -> bool {
        false
    }
}

/// As `parking_lot::Condvar`.
#[derive(Debug, Default)]
pub struct Condvar(model::Condvar);

impl Condvar {
    /// As `parking_lot::Condvar::new`.
    pub const fn new() -> Condvar {
        Condvar(model::Condvar::new())
    }

    /// As `parking_lot::Condvar::wait`.
    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        guard.held = guard.held.take().map(|held| self.0.wait(held).unwrap_or_else(PoisonError::into_inner));
    }

    /// As `parking_lot::Condvar::wait_for`, without the limit.
    pub fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _timeout: Duration) -> WaitTimeoutResult {
        self.wait(guard);
        WaitTimeoutResult
    }

    /// As `parking_lot::Condvar::notify_one`.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// As `parking_lot::Condvar::notify_all`.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// As `parking_lot::RwLock`.
#[derive(Default)]
pub struct RwLock<T: ?Sized>(model::RwLock<T>);

/// As `parking_lot::RwLockReadGuard`.
pub type RwLockReadGuard<'a, T> = model::RwLockReadGuard<'a, T>;
/// As `parking_lot::RwLockWriteGuard`.
pub type RwLockWriteGuard<'a, T> = model::RwLockWriteGuard<'a, T>;

impl<T> RwLock<T> {
    /// As `parking_lot::RwLock::new`.
    pub const fn new(value: T) -> RwLock<T> {
        RwLock(model::RwLock::new(value))
    }
}

impl<T: ?Sized> RwLock<T> {
    /// As `parking_lot::RwLock::read`.
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// As `parking_lot::RwLock::write`.
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: ?Sized> std::fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RwLock")
    }
}
