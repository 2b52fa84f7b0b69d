//! Commands against a model of plain collections: every reply is what the model says, whatever is on disk, compressed or in memory, and also
//! after the process has ended in any way and was started again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sessile::fuzzing::Input;
use sessile_fuzz::bench::{Bench, Ending, small};
use sessile_fuzz::model::{Expected, Model, Step};
use sessile_fuzz::resp::Value;

/// Steps of one input, at most: what comes later would only cost time.
const STEPS_MAX: usize = 300;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let mut bench = Bench::new(small(input.byte()), &[]);
    let mut model = Model::default();
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        model.now_ms = bench.db.now_ms();
        match input.byte() {
            0..=15 => bench.clock.advance_ms(u64::from(input.short())),
            16..=25 => bench.clock.advance_ms(u64::from(input.byte())),
            26..=45 => steps(&bench, 1),
            46..=51 => steps(&bench, 20),
            52..=55 => bench.db.checkpoint().expect("the disk is sound"),
            56..=60 => bench.reopen([Ending::Closed, Ending::Killed, Ending::PowerCut][input.below(3)]),
            61..=66 => transaction(&mut bench, &mut model, &mut input),
            67..=70 => look(&mut bench, &mut model),
            _ => {
                let (args, expected) = model.step(&mut input);
                check(&mut bench, args, &expected);
            }
        }
    }
    model.now_ms = bench.db.now_ms();
    look(&mut bench, &mut model);
    bench.db.verify().expect("what is counted is there");
    bench.reopen(Ending::Killed);
    model.now_ms = bench.db.now_ms();
    look(&mut bench, &mut model);
});

/// Lets the background work.
fn steps(bench: &Bench, count: usize) {
    for _ in 0..count {
        bench.db.step().expect("the disk is sound");
    }
}

fn show(args: &[Vec<u8>]) -> String {
    args.iter()
        .map(|arg| String::from_utf8_lossy(&arg[..arg.len().min(40)]).into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

fn check(bench: &mut Bench, args: Vec<Vec<u8>>, expected: &Expected) {
    let reply = bench.ask(&args);
    assert!(expected.is(&reply), "{}: {reply:?}, not {expected:?}", show(&args));
}

fn look(bench: &mut Bench, model: &mut Model) {
    for (args, expected) in model.look() {
        check(bench, args, &expected);
    }
}

/// What is queued is answered as if it had been sent at once; what is discarded has not happened.
fn transaction(bench: &mut Bench, model: &mut Model, input: &mut Input<'_>) {
    let before = model.clone();
    let discarded = input.byte().is_multiple_of(5);
    assert_eq!(bench.ask(&["MULTI"]), Value::Simple(b"OK".to_vec()));
    let mut steps: Vec<Step> = Vec::new();
    for _ in 0..input.below(8) {
        let (args, expected) = model.step(input);
        let reply = bench.ask(&args);
        assert_eq!(reply, Value::Simple(b"QUEUED".to_vec()), "{}", show(&args));
        steps.push((args, expected));
    }
    if discarded {
        assert_eq!(bench.ask(&["DISCARD"]), Value::Simple(b"OK".to_vec()));
        *model = before;
        return;
    }
    let Value::Array(replies) = bench.ask(&["EXEC"]) else { panic!("EXEC answers an array") };
    assert_eq!(replies.len(), steps.len());
    for ((args, expected), reply) in steps.iter().zip(&replies) {
        assert!(expected.is(reply), "{} in a transaction: {reply:?}, not {expected:?}", show(args));
    }
}
