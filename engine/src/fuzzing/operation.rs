//! What a record of the log says.

use super::layout::{layout, with_head};
use crate::record::{Operation, take};

/// Any bytes as a record: what is an operation is written as the same operation again. And as an object, which is what most of a log is.
pub fn operation(bytes: &[u8]) {
    let mut rest = bytes;
    while let Some(operation) = take(&mut rest) {
        if let Operation::Put { object, .. } = operation {
            layout(object);
        }
        if let Operation::Change { change, .. } = operation {
            let _ = (change.refusal(), change.kind());
        }
        let mut again = Vec::new();
        operation.encode(&mut again);
        let mut left = &again[..];
        assert_eq!(take(&mut left), Some(operation));
        assert!(left.is_empty());
    }
    layout(bytes);
    layout(&with_head(bytes));
}
