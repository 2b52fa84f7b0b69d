//! The ids of a chat's last turns, whether the turns are still there or not.

use super::packed_chat::is_remembered;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Ids by ascending indexes of their turns, and by themselves.
#[derive(Clone, Default)]
pub(super) struct Ids {
    order: VecDeque<(u64, Arc<[u8]>)>,
    indexes: HashMap<Arc<[u8]>, u64>,
    bytes: usize,
}

impl Ids {
    pub(super) fn get(&self, id: &[u8]) -> Option<u64> {
        self.indexes.get(id).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.order.iter().map(|(index, id)| (*index, &**id))
    }

    /// Adds one behind the last, unless it is there.
    pub(super) fn push(&mut self, index: u64, id: &[u8]) {
        let id: Arc<[u8]> = id.into();
        if !self.indexes.contains_key(&id) {
            self.bytes += id.len();
            self.indexes.insert(id.clone(), index);
            self.order.push_back((index, id));
        }
    }

    /// Adds one before the first, unless it is there.
    pub(super) fn push_front(&mut self, index: u64, id: &[u8]) {
        let id: Arc<[u8]> = id.into();
        if !self.indexes.contains_key(&id) {
            self.bytes += id.len();
            self.indexes.insert(id.clone(), index);
            self.order.push_front((index, id));
        }
    }

    fn drop_id(&mut self, id: &[u8]) {
        self.bytes -= id.len();
        self.indexes.remove(id);
    }

    /// Forgets those that are too old when the next index is this.
    pub(super) fn forget_before(&mut self, next_index: u64) {
        while let Some((_, id)) = self.order.pop_front_if(|(index, _)| !is_remembered(*index, next_index)) {
            self.drop_id(&id);
        }
    }

    /// Forgets those of turns from this index on.
    pub(super) fn forget_from(&mut self, index: u64) {
        while let Some((_, id)) = self.order.pop_back_if(|(other, _)| *other >= index) {
            self.drop_id(&id);
        }
    }

    /// Bytes of memory, about.
    pub(super) fn memory_bytes(&self) -> usize {
        // Two pointers with their indexes, counts and the allocator's share.
        self.bytes + self.order.len() * 96
    }
}
