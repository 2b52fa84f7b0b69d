//! What simulations have met, so that one can see that they try what they are for.

macro_rules! tally {
    ($($name:ident: $what:literal,)*) => {
        /// See the module's page.
        #[derive(Clone, Debug, Default)]
        pub struct Tally {
            $(#[doc = $what] pub $name: u64,)*
        }

        impl Tally {
            /// Adds another.
            pub fn join(&mut self, other: &Tally) {
                $(self.$name += other.$name;)*
            }

            /// Each figure with what it counts.
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$(($what, self.$name),)*]
            }
        }
    };
}

tally! {
    lives: "lives (opened and served)",
    clients: "clients",
    requests: "requests executed",
    acknowledged: "commits acknowledged",
    transactions: "transactions",
    aborted: "transactions aborted by a watched key",
    scripts: "scripts",
    waits: "waits",
    served: "waits served or over",
    refused: "requests refused for the disk",
    errands: "errands",
    told: "clients told of what expired",
    slow_syncs: "syncs that clients went on during",
    reads_while_syncing: "reads answered during a sync",
    checkpoints: "checkpoints",
    checkpoints_failed: "checkpoints failed",
    compacted: "segments compacted",
    dropped: "segments dropped",
    evicted: "values evicted",
    cold_reads: "values read from disk",
    dictionaries: "dictionaries trained",
    kills: "kills",
    power_cuts: "power cuts",
    closes: "clean ends",
    died_in_call: "deaths within a call of the disk",
    died_opening: "deaths while opening",
    failed_opening: "opens that a fault has failed",
    faults: "calls that failed",
    full: "times that the disk was made small",
    recovered: "times that writes went on once there was space again",
    torn: "torn tails cut off",
    lost_allowed: "unpromised commits lost",
    flips: "bits flipped at rest",
    flips_refused: "flips that refused a start",
    flips_harmless: "flips without effect",
    flips_damaged: "flips that cost single values",
    flips_cut: "flips at the end of the log that cut it off",
    repairs: "repairs",
}
