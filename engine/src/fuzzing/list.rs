//! Lists, flat and in chunks, against a vector.

use super::Input;
use crate::object::{List, layout, packed_list};
use crate::varint;

/// So many elements and the list is emptied: the target is not to measure how fast it is.
const ELEMENTS_MAX: usize = 1500;

struct Bench {
    model: Vec<Vec<u8>>,
    /// A run, as the payload of a flat list has it behind its count.
    run: Vec<u8>,
    list: List,
}

/// Elements that come, go and are replaced at both ends and within: a run, a list in chunks and a vector hold the same.
pub fn list(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut bench = Bench { model: Vec::new(), run: Vec::new(), list: List::default() };
    while !input.is_empty() {
        bench.step(&mut input);
        bench.compare(&mut input);
    }
    bench.compare_all();
}

impl Bench {
    fn step(&mut self, input: &mut Input<'_>) {
        let len = self.model.len();
        match input.byte() % 12 {
            0 => self.insert(len, &input.value()),
            1 => self.insert(0, &input.value()),
            2 => {
                let at = usize::from(input.short()) % (len + 1);
                self.insert(at, &input.value());
            }
            3 => (0..input.byte()).for_each(|_| self.insert(self.model.len(), b"again")),
            4 => {
                let mut run = Vec::new();
                for _ in 0..input.below(200) {
                    let element = input.name();
                    packed_list::put(&mut run, &element);
                    self.model.push(element);
                }
                self.run.extend_from_slice(&run);
                self.list.append(&run);
            }
            5 if len > 0 => {
                let (at, element) = (usize::from(input.short()) % len, input.value());
                let end = self.offset(at + 1);
                let mut encoded = Vec::new();
                packed_list::put(&mut encoded, &element);
                self.run.splice(self.offset(at)..end, encoded);
                self.list.set(at, &element);
                self.model[at] = element;
            }
            6 if len > 0 => {
                let at = usize::from(input.short()) % len;
                self.run.drain(self.offset(at)..self.offset(at + 1));
                self.list.remove(at);
                self.model.remove(at);
            }
            7 if len > 1 => {
                let count = 1 + usize::from(input.short()) % (len - 1);
                self.run.drain(..self.offset(count));
                let gone = self.list.drop_front(count);
                assert!(gone.len() <= count);
                self.model.drain(..count);
            }
            8 if len > 1 => {
                let count = 1 + usize::from(input.short()) % (len - 1);
                self.run.truncate(self.offset(len - count));
                let gone = self.list.drop_back(count);
                assert!(gone.len() <= count);
                self.model.truncate(len - count);
            }
            9 if len > 0 => {
                let element = self.model[usize::from(input.short()) % len].clone();
                let (count, last) = (input.below(5) + 1, input.byte() % 2 == 1);
                self.remove_equal(&element, count, last);
            }
            10 => self.list = self.list.copy(),
            _ => self.list = List::of(&self.payload()),
        }
        if self.model.len() > ELEMENTS_MAX {
            *self = Bench { model: Vec::new(), run: Vec::new(), list: List::default() };
        }
    }

    fn offset(&self, index: usize) -> usize {
        packed_list::offset(&self.run, self.model.len(), index)
    }

    fn insert(&mut self, at: usize, element: &[u8]) {
        let mut encoded = Vec::new();
        packed_list::put(&mut encoded, element);
        assert_eq!(encoded.len(), packed_list::encoded_bytes(element.len()));
        let offset = self.offset(at);
        self.run.splice(offset..offset, encoded);
        self.list.insert(at, element);
        self.model.insert(at, element.to_vec());
    }

    fn remove_equal(&mut self, element: &[u8], count: usize, last: bool) {
        let mut left = count;
        let mut keep = |other: &Vec<u8>| {
            let goes = left > 0 && other == element;
            left -= usize::from(goes);
            !goes
        };
        if last {
            self.model.reverse();
            self.model.retain(&mut keep);
            self.model.reverse();
        } else {
            self.model.retain(&mut keep);
        }
        self.list.remove_equal(element, count, last);
        self.run.clear();
        self.model.iter().for_each(|element| packed_list::put(&mut self.run, element));
    }

    fn payload(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        varint::put(&mut payload, self.model.len() as u64);
        payload.extend_from_slice(&self.run);
        payload
    }

    /// A look at one place.
    fn compare(&self, input: &mut Input<'_>) {
        let len = self.model.len();
        assert_eq!(self.list.len(), len);
        assert_eq!(self.list.payload_bytes(), self.payload().len());
        let at = usize::from(input.byte()) * 7 % (len + 2);
        let expected = self.model.get(at).map(Vec::as_slice);
        assert_eq!(self.list.get(at), expected);
        assert!(self.list.from(at).take(3).eq(self.model.iter().skip(at).take(3)));
        assert!(self.list.back_from(at).take(3).eq(self.model.iter().take(at).rev().take(3)));
    }

    fn compare_all(&self) {
        assert_eq!(packed_list::check(&self.run), Some(self.model.len()));
        assert!(packed_list::Elements(&self.run).eq(self.model.iter()));
        assert!(packed_list::Elements(&self.run).rev().eq(self.model.iter().rev()));
        let mut seen = 0;
        self.list.for_each(0, usize::MAX, &mut |element| {
            assert_eq!(element, &self.model[seen][..]);
            seen += 1;
        });
        assert_eq!(seen, self.model.len());
        let mut encoded = Vec::new();
        self.list.encode(&mut encoded);
        let payload = self.payload();
        assert_eq!(encoded, payload);
        if !self.model.is_empty() {
            assert!(packed_list::check_payload(&payload));
            assert_eq!(packed_list::len(&payload), self.model.len());
            let mut flat = Vec::new();
            layout::put_head(&mut flat, crate::Kind::List, 0, b"key", None);
            flat.extend_from_slice(&payload);
            assert!(layout::check(&flat).is_some());
        }
    }
}
