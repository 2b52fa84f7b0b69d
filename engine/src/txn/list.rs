//! Lists: flat up to a size, then a deque of chunks.
//!
//! Positions count from zero at the front. A list that loses its last element is gone, with its key.

use super::{Txn, WrongKind};
use crate::change::list::flat_list;
use crate::change::{Change, ListChange};
use crate::expiry::NEVER;
use crate::key::Key;
use crate::object::{Body, Kind, Structured, View, layout, packed_list};
use smallvec::SmallVec;
use std::cell::Cell;
use std::ops::ControlFlow;

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListEnd {
    /// Where the first element is (`LEFT`).
    Front,
    /// Where the last element is (`RIGHT`).
    Back,
}

thread_local! {
    /// The buffer that elements are encoded into before they are pushed.
    static RUN: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A buffer that has grown beyond this is not kept.
const RUN_BYTES_KEPT: usize = 64 << 10;

/// Hands an empty buffer to `run`.
fn with_buffer<R>(run: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut buffer = RUN.take();
    buffer.clear();
    let result = run(&mut buffer);
    if buffer.capacity() <= RUN_BYTES_KEPT {
        RUN.set(buffer);
    }
    result
}

/// How many elements a list has.
fn len(view: View<'_>) -> usize {
    match view {
        View::Packed(flat) => packed_list::parts(layout::parts(flat).payload).0,
        View::Structured(Structured { body: Body::List(list), .. }) => list.len(),
        View::Structured(_) => 0,
    }
}

/// The element at an index.
fn nth(view: View<'_>, index: usize) -> Option<&[u8]> {
    match view {
        View::Packed(flat) => {
            let (len, run) = packed_list::parts(layout::parts(flat).payload);
            let mut rest = &run[packed_list::offset(run, len, index.min(len))..];
            packed_list::take_first(&mut rest)
        }
        View::Structured(Structured { body: Body::List(list), .. }) => list.get(index),
        View::Structured(_) => None,
    }
}

/// Calls `each` with the elements from an index on, until it has enough.
fn visit(view: View<'_>, from: usize, each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) {
    let _ = match view {
        View::Packed(flat) => {
            let (len, run) = packed_list::parts(layout::parts(flat).payload);
            let start = packed_list::offset(run, len, from.min(len));
            packed_list::Elements(&run[start..]).try_for_each(each)
        }
        View::Structured(Structured { body: Body::List(list), .. }) => list.from(from).try_for_each(each),
        View::Structured(_) => ControlFlow::Continue(()),
    };
}

/// Calls `each` with the elements before an index, the last one first, until it has enough.
fn visit_back(view: View<'_>, end: usize, each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) {
    let _ = match view {
        View::Packed(flat) => {
            let (len, run) = packed_list::parts(layout::parts(flat).payload);
            let end = packed_list::offset(run, len, end.min(len));
            packed_list::Elements(&run[..end]).rev().try_for_each(each)
        }
        View::Structured(Structured { body: Body::List(list), .. }) => list.back_from(end).try_for_each(each),
        View::Structured(_) => ControlFlow::Continue(()),
    };
}

impl Txn<'_> {
    fn list_view(&self, key: &Key<'_>) -> Result<Option<View<'_>>, WrongKind> {
        Ok(self.entry_of(key, Kind::List)?.map(|entry| entry.view()))
    }

    /// How many elements a list has; 0 if there is no such key.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn list_len(&self, key: &Key<'_>) -> Result<usize, WrongKind> {
        Ok(self.list_view(key)?.map_or(0, len))
    }

    /// The element at a position; `None` if there is no such element or key.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn list_get(&self, key: &Key<'_>, index: usize) -> Result<Option<&[u8]>, WrongKind> {
        Ok(self.list_view(key)?.and_then(|view| nth(view, index)))
    }

    /// Calls `each` with up to `count` elements from `start` on.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn list_range(
        &self,
        key: &Key<'_>,
        start: usize,
        count: usize,
        each: &mut dyn FnMut(&[u8]),
    ) -> Result<(), WrongKind> {
        match self.list_view(key)? {
            Some(View::Packed(flat)) => {
                let (len, run) = packed_list::parts(layout::parts(flat).payload);
                let start = packed_list::offset(run, len, start.min(len));
                packed_list::Elements(&run[start..]).take(count).for_each(each);
            }
            Some(View::Structured(Structured { body: Body::List(list), .. })) => {
                list.for_each(start, count, each);
            }
            _ => {}
        }
        Ok(())
    }

    /// Calls `each` with every element from `start` on until it breaks off.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn list_visit(
        &self,
        key: &Key<'_>,
        start: usize,
        each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), WrongKind> {
        if let Some(view) = self.list_view(key)? {
            visit(view, start, each);
        }
        Ok(())
    }

    /// Calls `each` with every element before `end`, the last of them first, until it breaks off.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn list_visit_back(
        &self,
        key: &Key<'_>,
        end: usize,
        each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), WrongKind> {
        if let Some(view) = self.list_view(key)? {
            visit_back(view, end, each);
        }
        Ok(())
    }

    /// Pushes elements one after the other (so that at the front the last of them comes first), creating the list; how many there are then.
    /// Keeps the key's deadline.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn list_push(&mut self, key: &Key<'_>, end: ListEnd, elements: &[&[u8]]) -> Result<usize, WrongKind> {
        with_buffer(|run| {
            match end {
                ListEnd::Front => elements.iter().rev().for_each(|element| packed_list::put(run, element)),
                ListEnd::Back => elements.iter().for_each(|element| packed_list::put(run, element)),
            }
            self.push_run(key, end, run, elements.len())
        })
    }

    /// Replaces whatever the key held by a list of these elements, without a deadline; without any the key is deleted.
    pub fn list_put(&mut self, key: &Key<'_>, elements: &[&[u8]]) {
        if elements.is_empty() {
            self.delete(key);
            return;
        }
        let mut head: SmallVec<[u8; 96]> = SmallVec::new();
        layout::put_head(&mut head, Kind::List, key.database, key.bytes, None);
        with_buffer(|run| {
            elements.iter().for_each(|element| packed_list::put(run, element));
            self.put(key, flat_list(&head, elements.len(), [run, &[], &[]]), NEVER, 0);
        });
    }

    fn push_run(
        &mut self,
        key: &Key<'_>,
        end: ListEnd,
        run: &[u8],
        count: usize,
    ) -> Result<usize, WrongKind> {
        let Some(place) = self.place_of(key, Kind::List)? else {
            if count > 0 {
                let mut head: SmallVec<[u8; 96]> = SmallVec::new();
                layout::put_head(&mut head, Kind::List, key.database, key.bytes, None);
                self.put(key, flat_list(&head, count, [run, &[], &[]]), NEVER, 0);
            }
            return Ok(count);
        };
        let before = len(self.shard(key).entry(place).view());
        if count > 0 {
            let change = match end {
                ListEnd::Front => ListChange::PushFront { run, count },
                ListEnd::Back => ListChange::PushBack { run, count },
            };
            self.change_at(key, place, &Change::List(change));
        }
        Ok(before + count)
    }

    /// Takes up to `count` elements off an end and calls `each` with them, the outermost first; how many are left.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn list_pop(
        &mut self,
        key: &Key<'_>,
        end: ListEnd,
        count: usize,
        each: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, WrongKind> {
        let Some(place) = self.place_of(key, Kind::List)? else { return Ok(0) };
        let view = self.shard(key).entry(place).view();
        let len = len(view);
        let count = count.min(len);
        if count == 0 {
            return Ok(len);
        }
        let mut left = count;
        let mut each = |element: &[u8]| {
            each(element);
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        match end {
            ListEnd::Front => visit(view, 0, &mut each),
            ListEnd::Back => visit_back(view, len, &mut each),
        }
        let gone = count as u64;
        let (front, back) = if end == ListEnd::Front { (gone, 0) } else { (0, gone) };
        if count == len {
            self.delete(key);
        } else {
            self.change_at(key, place, &Change::List(ListChange::Trim { front, back }));
        }
        Ok(len - count)
    }

    /// Takes an element off one list and pushes it to another (or the same) one, calling `each` with it; whether there was one.
    ///
    /// # Errors
    /// [`WrongKind`] if there is an element, and `to` holds something else, or if `from` holds something else.
    pub fn list_move(
        &mut self,
        from: &Key<'_>,
        take: ListEnd,
        to: &Key<'_>,
        put: ListEnd,
        each: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, WrongKind> {
        if self.list_view(from)?.is_none() {
            return Ok(false);
        }
        self.list_view(to)?;
        with_buffer(|run| {
            if let Some(view) = self.list_view(from)? {
                let index = if take == ListEnd::Front { 0 } else { len(view) - 1 };
                let element = nth(view, index).unwrap_or_default();
                packed_list::put(run, element);
                each(element);
            }
            // First, so that a list that gives to itself is never empty.
            self.push_run(to, put, run, 1)
        })?;
        self.list_pop(from, take, 1, &mut |_| {})?;
        Ok(true)
    }

    /// Replaces the element at a position; false if there is none.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn list_set(&mut self, key: &Key<'_>, index: usize, element: &[u8]) -> Result<bool, WrongKind> {
        let Some(place) = self.place_of(key, Kind::List)? else { return Ok(false) };
        let there = index < len(self.shard(key).entry(place).view());
        if there {
            let change = ListChange::Set { index: index as u64, element };
            self.change_at(key, place, &Change::List(change));
        }
        Ok(there)
    }

    /// Inserts an element before the one at a position, or at the end; false if there is no such position.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn list_insert(&mut self, key: &Key<'_>, index: usize, element: &[u8]) -> Result<bool, WrongKind> {
        let Some(place) = self.place_of(key, Kind::List)? else { return Ok(false) };
        let there = index <= len(self.shard(key).entry(place).view());
        if there {
            let change = ListChange::Insert { index: index as u64, element };
            self.change_at(key, place, &Change::List(change));
        }
        Ok(there)
    }

    /// Removes up to `count` elements that are equal to this one, from this end on, and the key with the last element; how many.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn list_remove(
        &mut self,
        key: &Key<'_>,
        element: &[u8],
        count: usize,
        from: ListEnd,
    ) -> Result<usize, WrongKind> {
        let Some(place) = self.place_of(key, Kind::List)? else { return Ok(0) };
        let view = self.shard(key).entry(place).view();
        let mut removed = 0;
        let mut count_equal = |other: &[u8]| {
            if removed == count {
                return ControlFlow::Break(());
            }
            removed += usize::from(other == element);
            ControlFlow::Continue(())
        };
        let len = len(view);
        match from {
            ListEnd::Front => visit(view, 0, &mut count_equal),
            ListEnd::Back => visit_back(view, len, &mut count_equal),
        }
        if removed == len {
            self.delete(key);
        } else if removed > 0 {
            let (count, last) = (removed as u64, from == ListEnd::Back);
            self.change_at(key, place, &Change::List(ListChange::RemoveEqual { element, count, last }));
        }
        Ok(removed)
    }

    /// Keeps `count` elements from `start` on and removes the others, and the key if nothing is kept; how many are left.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn list_trim(&mut self, key: &Key<'_>, start: usize, count: usize) -> Result<usize, WrongKind> {
        let Some(place) = self.place_of(key, Kind::List)? else { return Ok(0) };
        let len = len(self.shard(key).entry(place).view());
        let start = start.min(len);
        let end = start.saturating_add(count).min(len);
        if start == end {
            self.delete(key);
        } else if end - start < len {
            let (front, back) = (start as u64, (len - end) as u64);
            self.change_at(key, place, &Change::List(ListChange::Trim { front, back }));
        } else {
            // Who watches the key is told, as in Redis.
            self.count_as_changed(key);
        }
        Ok(end - start)
    }
}
