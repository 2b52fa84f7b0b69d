//! What the first line of a script or library says: `#!lua flags=no-writes`, `#!lua name=library`.

/// What a script says of itself.
pub mod flags {
    #![allow(missing_docs)]
    pub const NO_WRITES: u32 = 1;
    pub const ALLOW_OOM: u32 = 1 << 1;
    pub const ALLOW_STALE: u32 = 1 << 2;
    pub const NO_CLUSTER: u32 = 1 << 3;
    pub const ALLOW_CROSS_SLOT_KEYS: u32 = 1 << 4;
    /// Every flag that a script can set.
    pub const ALL: u32 = (1 << 5) - 1;

    /// Flags with their names, in the order in which `FUNCTION LIST` has them.
    pub const NAMES: [(u32, &str); 5] = [
        (NO_WRITES, "no-writes"),
        (ALLOW_OOM, "allow-oom"),
        (ALLOW_STALE, "allow-stale"),
        (NO_CLUSTER, "no-cluster"),
        (ALLOW_CROSS_SLOT_KEYS, "allow-cross-slot-keys"),
    ];

    /// The flag of this name.
    pub fn by_name(name: &[u8]) -> Option<u32> {
        NAMES.iter().find(|(_, known)| known.as_bytes() == name).map(|(flag, _)| *flag)
    }
}

/// A script's first line, and what is left of the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// [`flags`] bits; `None` if the script has no first line of that kind: then it may do anything, as before Redis 7.
    pub flags: Option<u32>,
    /// Where its text begins: behind the first line, whose end stays so that lines keep their numbers.
    pub body: usize,
}

/// Reads the first line of a script.
///
/// # Errors
///
/// What is wrong with it.
pub fn header(source: &[u8]) -> Result<Header, String> {
    if !source.starts_with(b"#!") {
        return Ok(Header { flags: None, body: 0 });
    }
    let Some(end) = memchr::memchr(b'\n', source) else {
        return Err("Invalid script shebang".to_owned());
    };
    let line = String::from_utf8_lossy(&source[..end]).into_owned();
    let mut parts = line.split_ascii_whitespace();
    let engine = parts.next().unwrap_or_default();
    if engine != "#!lua" {
        return Err(format!("Unexpected engine in script shebang: {}", engine));
    }
    let mut bits = 0;
    for part in parts {
        let Some(names) = part.strip_prefix("flags=") else {
            return Err(format!("Unknown lua shebang option: {part}"));
        };
        for name in names.split(',').filter(|name| !name.is_empty()) {
            match flags::by_name(name.as_bytes()) {
                Some(flag) => bits |= flag,
                None => return Err(format!("Unexpected flag in script shebang: {name}")),
            }
        }
    }
    Ok(Header { flags: Some(bits), body: end })
}

/// Whether it can name a library or a function.
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
