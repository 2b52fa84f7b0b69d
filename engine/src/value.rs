//! A value that was read: shared with the index, not copied.

use crate::object::Packed;
use std::fmt;
use std::ops::Deref;

/// The bytes of a string value. Dereferences to `[u8]`.
///
/// It shares the database's own allocation: holding one costs no copy, and keeps the bytes as they were when they were read,
/// whatever happens to the key. Holding many of them for long keeps their memory in use.
#[derive(Clone)]
pub struct Value {
    object: Packed,
    /// Where the value begins: the key comes before it.
    start: usize,
}

impl Value {
    pub(crate) fn new(object: Packed, start: usize) -> Value {
        Value { object, start }
    }

    /// A copy of the bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        self[..].to_vec()
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.object.bytes()[self.start..]
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Value {
    fn eq(&self, other: &T) -> bool {
        self[..] == *other.as_ref()
    }
}

impl Eq for Value {}

impl From<Value> for Vec<u8> {
    fn from(value: Value) -> Vec<u8> {
        value.to_vec()
    }
}
