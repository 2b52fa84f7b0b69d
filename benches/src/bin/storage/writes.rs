use crate::{Failure, Setting};
use sessile_benches::report::Report;

pub(crate) fn run(_: &Setting) -> Result<Report, Failure> {
    Err("to come".into())
}
