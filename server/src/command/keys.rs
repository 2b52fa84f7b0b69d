//! Where a command's keys are: [`KeySpec`] applied to real arguments.
//!
//! Arity was checked before, but nothing else: positions that a row promises and the arguments do not have are skipped.

use super::KeySpec;

impl KeySpec {
    /// Calls `each` with the database and the argument index of every key, in the row's order.
    #[inline]
    pub fn for_each(&self, args: &[&[u8]], database: u8, mut each: impl FnMut(u8, usize)) {
        match *self {
            KeySpec::None => {}
            KeySpec::Range { first, last, step } => {
                let count = args.len() as i64;
                let last = if last < 0 { count + i64::from(last) } else { i64::from(last) }.min(count - 1);
                let mut index = i64::from(first);
                while index <= last {
                    each(database, index as usize);
                    index += i64::from(step.max(1));
                }
            }
            KeySpec::Across { find, .. } => find(args, database, &mut each),
        }
    }
}
