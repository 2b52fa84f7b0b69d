//! What fuzz targets share: a server in memory, a model of what its commands do, and RESP read back.

pub mod bench;
pub mod directory;
pub mod model;
pub mod resp;
