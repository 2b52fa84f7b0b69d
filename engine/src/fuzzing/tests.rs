//! Every seed and every input that ever found anything, and a few drawn ones: the campaigns of `fuzz/` go on from there.

use super::*;
use sessile_wal::sim::Rng;

/// Drawn inputs of each target.
const DRAWN: u64 = 60;

fn run(target: &str, check: fn(&[u8])) {
    for seed in 0..DRAWN {
        let mut rng = Rng::new(seed);
        let bytes: Vec<u8> = (0..rng.below(600)).map(|_| rng.next_u64() as u8).collect();
        attempt(&format!("{target}, drawn with seed {seed}"), check, &bytes);
    }
    for (name, bytes) in seeds(target) {
        attempt(&name, check, &bytes);
    }
}

fn attempt(name: &str, check: fn(&[u8]), bytes: &[u8]) {
    if let Err(panic) = std::panic::catch_unwind(|| check(bytes)) {
        eprintln!("failed: {name}");
        std::panic::resume_unwind(panic);
    }
}

#[expect(clippy::disallowed_methods, reason = "the seeds are in the tree")]
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let Ok(entries) = std::fs::read_dir(&dir) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("readable").path());
    paths.map(|path| (path.display().to_string(), std::fs::read(&path).expect("readable"))).collect()
}

macro_rules! targets {
    ($($target:ident)*) => {$(
        #[test]
        fn $target() {
            run(stringify!($target), super::$target);
        }
    )*};
}

targets!(chat dictionary hash index_file layout list manifest operation segment set sorted_set stream wheel);

#[test]
fn a_sealed_manifest_is_read_as_far_as_its_body() {
    let refused = |bytes: &[u8]| {
        let fs = disk_with(crate::manifest::NAME, bytes);
        crate::manifest::Manifest::read(&fs, Path::new(DIR)).expect_err("no checkpoint is so").to_string()
    };
    let mut version_3 = vec![0; 180];
    version_3[8] = 3;
    let error = refused(&sealed_manifest(&version_3));
    assert!(error.contains("map of databases"), "{error}");
}
