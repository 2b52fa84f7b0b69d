//! Finding keys whose number is an argument (`LMPOP`, `ZUNIONSTORE`, `EVAL`).
//!
//! Finders for [`KeySpec::Across`](super::KeySpec). Arguments that make no sense name no keys: their command says what is wrong with them.

/// Reports the keys of `… numkeys key [key …] …`, where `numkeys` is the argument `at`.
fn counted(args: &[&[u8]], database: u8, at: usize, each: &mut dyn FnMut(u8, usize)) {
    let Some(count) = args.get(at).and_then(|count| super::number::parse_integer(count)) else { return };
    let Ok(count) = usize::try_from(count) else { return };
    if count <= args.len().saturating_sub(at + 1) {
        (at + 1..=at + count).for_each(|index| each(database, index));
    }
}

/// `COMMAND numkeys key [key …] …`
pub fn counted_from_1(args: &[&[u8]], database: u8, each: &mut dyn FnMut(u8, usize)) {
    counted(args, database, 1, each);
}

/// `COMMAND x numkeys key [key …] …`
pub fn counted_from_2(args: &[&[u8]], database: u8, each: &mut dyn FnMut(u8, usize)) {
    counted(args, database, 2, each);
}

/// `COMMAND destination numkeys key [key …] …`: the destination comes first.
pub fn destination_and_counted(args: &[&[u8]], database: u8, each: &mut dyn FnMut(u8, usize)) {
    if args.len() > 1 {
        each(database, 1);
    }
    counted(args, database, 2, each);
}
