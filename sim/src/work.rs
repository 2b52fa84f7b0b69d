//! What clients ask for.

use crate::client::{Args, Session};
use crate::profile::{Profile, pick};
use sessile_wal::sim::Rng;

/// Runs the commands in its arguments, each behind the number of its words, and answers with what each of them answers.
pub const SCRIPT: &str = "local out, i = {}, 1
while i <= #ARGV do
  local n, words = tonumber(ARGV[i]), {}
  for j = 1, n do words[j] = ARGV[i + j] end
  out[#out + 1] = redis.pcall(unpack(words))
  i = i + n + 1
end
return out";

/// The commands in a script's arguments.
pub fn scripted(mut rest: &[Vec<u8>]) -> Vec<Args> {
    let mut all = Vec::new();
    while let Some((count, words)) = rest.split_first() {
        let count = std::str::from_utf8(count).ok().and_then(|count| count.parse().ok()).unwrap_or(0);
        all.push(words.get(..count).unwrap_or_default().to_vec());
        rest = words.get(count..).unwrap_or_default();
    }
    all
}

/// Makes requests; no two values that it writes are the same.
#[derive(Debug, Default)]
pub struct Work {
    written: u64,
}

struct Draw<'a> {
    rng: &'a mut Rng,
    profile: &'a Profile,
    now_ms: u64,
    written: &'a mut u64,
}

fn args<const N: usize>(words: [&[u8]; N]) -> Args {
    words.iter().map(|word| word.to_vec()).collect()
}

fn text(number: impl std::fmt::Display) -> Vec<u8> {
    number.to_string().into_bytes()
}

impl Work {
    /// The next requests of a client.
    pub fn next(&mut self, rng: &mut Rng, profile: &Profile, session: &Session, now_ms: u64) -> Vec<Args> {
        let mut draw = Draw { rng, profile, now_ms, written: &mut self.written };
        let mut all = Vec::new();
        let count = pick(draw.rng, &[1, 1, 1, 2, 5]);
        for _ in 0..count {
            match draw.rng.below(100) {
                0..=7 => draw.transaction(&mut all),
                8..=11 if draw.profile.scripts => {
                    let script = draw.script();
                    all.push(script);
                }
                12..=14 => all.push(vec![b"SELECT".to_vec(), text(pick(draw.rng, &[0, 0, 1]))]),
                15 => all.push(draw.whole()),
                16..=21 if !draw.profile.swaps => all.push(draw.wait()),
                22..=23 => all.push(args([b"SAVE"])),
                24..=26 => {
                    let key = draw.any_key();
                    all.push(vec![b"WATCH".to_vec(), key]);
                }
                _ => all.push(draw.command()),
            }
        }
        if session.queue.is_some() {
            all.push(args([b"EXEC"]));
        }
        all
    }
}

impl Draw<'_> {
    fn key(&mut self, kind: &str) -> Vec<u8> {
        if self.rng.chance(4) {
            return self.any_key();
        }
        format!("{kind}:{}", self.rng.below(self.profile.keys)).into_bytes()
    }

    fn any_key(&mut self) -> Vec<u8> {
        let kind = pick(self.rng, &["s", "h", "l", "t", "z", "x", "q"]);
        format!("{kind}:{}", self.rng.below(self.profile.keys)).into_bytes()
    }

    fn value(&mut self) -> Vec<u8> {
        *self.written += 1;
        let mut value = format!("v{}.", self.written).into_bytes();
        let most = pick(self.rng, &[1, 1, 30, 30, 300, 4_000]);
        let length = self.rng.below(most) as usize;
        if self.rng.chance(50) {
            value.resize(value.len() + length, b'x');
        } else {
            let mut noise = Rng::new(self.rng.next_u64());
            value.extend((0..length).map(|_| noise.next_u64() as u8));
        }
        value
    }

    fn small(&mut self) -> Vec<u8> {
        if self.rng.chance(40) {
            *self.written += 1;
            return format!("e{}", self.written).into_bytes();
        }
        format!("m{}", self.rng.below(6)).into_bytes()
    }

    fn several(&mut self, mut front: Args) -> Args {
        let most = pick(self.rng, &[1, 1, 3, 3, 60]);
        for _ in 0..=self.rng.below(most) {
            let small = self.small();
            front.push(small);
        }
        front
    }

    fn ms(&mut self) -> u64 {
        let most = pick(self.rng, &[1, 40, 400, 3_000, 60_000, 1_800_000]);
        self.rng.below(most) + u64::from(!self.rng.chance(3))
    }

    fn at(&mut self) -> Vec<u8> {
        let ms = self.ms();
        text(self.now_ms - 2 + ms)
    }

    fn rank(&mut self) -> Vec<u8> {
        text(pick(self.rng, &[0, 0, 1, 2, 5, -1, -1, -2]))
    }

    /// On one key or a few, as a transaction or a script may contain it.
    fn command(&mut self) -> Args {
        match self.rng.below(20) {
            0..=5 => self.on_string(),
            6..=8 => self.on_hash(),
            9..=11 => self.on_list(),
            12..=13 => self.on_set(),
            14..=15 => self.on_sorted_set(),
            16..=17 => self.on_stream(),
            _ => self.on_any(),
        }
    }

    fn on_string(&mut self) -> Args {
        let (key, value) = (self.key("s"), self.value());
        match self.rng.below(16) {
            0..=2 => args([b"SET", &key, &value]),
            3..=4 => args([b"SET", &key, &value, b"PX", &text(self.ms().max(1))]),
            5 => args([b"SET", &key, &value, b"PXAT", &text(self.now_ms + self.ms().max(1))]),
            6 => args([b"SET", &key, &value, b"KEEPTTL"]),
            7 => args([b"SET", &key, &value, pick(self.rng, &[b"NX", b"XX"])]),
            8 => args([b"APPEND", &key, &value]),
            9 => args([b"SETRANGE", &key, &text(self.rng.below(60)), &value]),
            10 => args([b"INCRBY", &self.key("n"), &text(self.rng.below(100))]),
            11 => args([b"MSET", &key, &value, &self.key("s"), &self.value()]),
            12 => args([b"GETDEL", &key]),
            13 => args([b"GETEX", &key, b"PX", &text(self.ms().max(1))]),
            _ => args([b"GET", &key]),
        }
    }

    fn on_hash(&mut self) -> Args {
        let (key, field) = (self.key("h"), self.small());
        match self.rng.below(9) {
            0..=2 => {
                let mut all = args([b"HSET", &key]);
                for _ in 0..=pick(self.rng, &[0, 0, 2, 40]) {
                    let (field, value) = (self.small(), self.value());
                    all.extend([field, value]);
                }
                all
            }
            3 => self.several(args([b"HDEL", &key])),
            4 => args([b"HGETALL", &key]),
            5 => args([b"HINCRBY", &key, &[b'n', field[field.len() - 1]], b"3"]),
            6 => args([b"HPEXPIREAT", &key, &self.at(), b"FIELDS", b"1", &field]),
            7 => args([b"HPERSIST", &key, b"FIELDS", b"1", &field]),
            _ => args([b"HGET", &key, &field]),
        }
    }

    fn on_list(&mut self) -> Args {
        let kind = if self.rng.chance(40) { "q" } else { "l" };
        let key = self.key(kind);
        match self.rng.below(12) {
            0..=2 => self.several(args([b"RPUSH", &key])),
            3 => self.several(args([b"LPUSH", &key])),
            4 => args([b"LPOP", &key]),
            5 => args([b"RPOP", &key]),
            6 => {
                let to = self.key(kind);
                let (out, into) =
                    (pick(self.rng, &[&b"LEFT"[..], b"RIGHT"]), pick(self.rng, &[&b"LEFT"[..], b"RIGHT"]));
                args([b"LMOVE", &key, &to, out, into])
            }
            7 => args([b"LTRIM", &key, &self.rank(), &self.rank()]),
            8 => args([b"LSET", &key, &self.rank(), &self.value()]),
            9 => args([b"LREM", &key, b"0", &self.small()]),
            _ => args([b"LRANGE", &key, b"0", b"-1"]),
        }
    }

    fn on_set(&mut self) -> Args {
        let key = self.key("t");
        match self.rng.below(8) {
            0..=2 => self.several(args([b"SADD", &key])),
            3 => self.several(args([b"SREM", &key])),
            4 => args([b"SPOP", &key]),
            5 => args([b"SMOVE", &key, &self.key("t"), &self.small()]),
            6 => args([b"SUNIONSTORE", &key, &self.key("t"), &self.key("t")]),
            _ => args([b"SMEMBERS", &key]),
        }
    }

    fn on_sorted_set(&mut self) -> Args {
        let key = self.key("z");
        match self.rng.below(8) {
            0..=2 => {
                let mut all = args([b"ZADD", &key]);
                for _ in 0..=pick(self.rng, &[0, 0, 2, 40]) {
                    let (score, member) = (text(self.rng.below(50)), self.small());
                    all.extend([score, member]);
                }
                all
            }
            3 => args([b"ZINCRBY", &key, b"5", &self.small()]),
            4 => self.several(args([b"ZREM", &key])),
            5 => args([b"ZPOPMIN", &key]),
            6 => args([b"ZREMRANGEBYRANK", &key, &self.rank(), &self.rank()]),
            _ => args([b"ZRANGE", &key, b"0", b"-1", b"WITHSCORES"]),
        }
    }

    fn entry(&mut self) -> Vec<u8> {
        // 0-0 is refused before anything else.
        format!("{}-{}", 1 + self.rng.below(40), self.rng.below(3)).into_bytes()
    }

    fn on_stream(&mut self) -> Args {
        let key = self.key("x");
        let (group, consumer) = (pick(self.rng, &[b"g1", b"g2"]), pick(self.rng, &[b"c1", b"c2"]));
        match self.rng.below(14) {
            0..=2 => args([b"XADD", &key, b"*", b"field", &self.value()]),
            3..=4 => args([b"XADD", &key, &self.entry(), b"field", &self.value()]),
            5 => args([b"XDEL", &key, &self.entry(), &self.entry()]),
            6 => args([b"XTRIM", &key, b"MAXLEN", &text(self.rng.below(8))]),
            7..=8 => {
                args([b"XGROUP", b"CREATE", &key, group, pick(self.rng, &[&b"0-0"[..], b"$"]), b"MKSTREAM"])
            }
            9..=10 => {
                args([b"XREADGROUP", b"GROUP", group, consumer, b"COUNT", b"3", b"STREAMS", &key, b">"])
            }
            11 => args([b"XACK", &key, group, &self.entry(), &self.entry()]),
            12 if self.rng.chance(20) => args([b"XGROUP", b"DESTROY", &key, group]),
            12 => args([b"XLEN", &key]),
            _ => args([b"XRANGE", &key, b"-", b"+"]),
        }
    }

    fn on_any(&mut self) -> Args {
        let key = self.any_key();
        match self.rng.below(14) {
            0..=2 => args([b"DEL", &key]),
            3 => args([b"UNLINK", &key, &self.any_key()]),
            4..=5 => args([b"PEXPIRE", &key, &text(self.ms())]),
            6..=7 => args([b"PEXPIREAT", &key, &self.at()]),
            8 => args([b"PERSIST", &key]),
            9 => args([b"RENAME", &key, &self.any_key()]),
            10 => args([b"COPY", &key, &self.any_key()]),
            11 => args([b"PEXPIRETIME", &key]),
            12 => args([b"TYPE", &key]),
            _ => args([b"EXISTS", &key]),
        }
    }

    /// On whole databases.
    fn whole(&mut self) -> Args {
        match self.rng.below(4) {
            0 => args([b"FLUSHDB"]),
            1 if self.rng.chance(30) => args([b"FLUSHALL"]),
            _ if self.profile.swaps => args([b"SWAPDB", b"0", b"1"]),
            _ => args([b"DEL", &self.any_key()]),
        }
    }

    fn wait(&mut self) -> Args {
        let (key, to) = (self.key("q"), self.key("q"));
        let seconds = pick(self.rng, &[&b"0"[..], b"0.05", b"2"]);
        if self.rng.chance(60) {
            args([b"BLPOP", &key, seconds])
        } else {
            args([b"BLMOVE", &key, &to, b"LEFT", b"RIGHT", seconds])
        }
    }

    fn transaction(&mut self, all: &mut Vec<Args>) {
        all.push(args([b"MULTI"]));
        for _ in 0..=self.rng.below(4) {
            let command = self.command();
            all.push(command);
        }
        all.push(args([if self.rng.chance(90) { b"EXEC" as &[u8] } else { b"DISCARD" }]));
    }

    fn script(&mut self) -> Args {
        let commands: Vec<Args> = (0..=self.rng.below(3)).map(|_| self.command()).collect();
        let mut all = args([b"EVAL", SCRIPT.as_bytes(), b"0"]);
        for command in commands {
            all.push(text(command.len()));
            all.extend(command);
        }
        all
    }
}
