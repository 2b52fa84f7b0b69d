//! Segments: immutable files of objects. `docs/formats.md` specifies them.
//!
//! ```text
//! seg-<id, 8 hex digits>.seg    header 64 │ record │ record │ …            each on a multiple of 4, padded with zeros
//!   record                      CRC-32 u32 │ body length varint │ body
//!   body                        flags u8 │ LSN varint │ [deadline varint] │ [raw length varint] │ bytes
//! ```
//!
//! - [`SegmentWriter`] makes one: records go to a buffer, the buffer to the file, and `finish` makes it durable.
//! - [`SegmentFile`] reads single records of one that is finished, by their offset.
//! - [`Scan`] reads all of them in order, and finds the next one behind damage.
//!
//! What a segment must never do: change once it is finished, or give another object than the one that was written at an offset. A record's
//! checksum covers the database, the segment and the offset, so that a stale or misplaced one is as bad as a torn one.

mod format;
mod reader;
mod scan;
mod writer;

#[cfg(test)]
mod measure;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

pub(crate) use format::{Record, Stored, file_name, id_of_name};
pub(crate) use reader::{Scratch, SegmentFile};
pub(crate) use scan::{Found, Scan};
pub(crate) use writer::SegmentWriter;
