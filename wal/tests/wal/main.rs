//! The log, from outside: against a model on the simulated disk, with damaged files, failing calls and full disks, on the
//! real disk, and with many threads.

mod background;
mod corruption;
mod faults;
mod golden;
mod known;
mod model;
mod notifier;
mod real_disk;
mod support;
mod threads;
