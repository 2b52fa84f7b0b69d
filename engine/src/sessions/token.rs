//! Tokens, and what is kept of them.
//!
//! ```text
//! token   32 bytes of the operating system ─▶ base64url, 43 characters: its holder's, and nobody else's
//! digest  HMAC-SHA-256 of the 32 bytes under the directory's digest key
//!           ├ id        its first 16 bytes: names the session, public as the handle (22 characters)
//!           └ verifier  its last 16 bytes: kept in the record, compared in constant time
//! ```
//!
//! A stolen disk holds ids and verifiers, from neither of which a token follows, even for somebody who has the digest key, too. What this must
//! never do: keep a token, or show one to anybody but the caller who has just made it.

use super::DIGEST_KEY_FILE;
use crate::db::{Db, Inner};
use crate::{Error, Key, side_file};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use smallvec::SmallVec;
use std::cell::RefCell;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a token before it is written in characters.
const TOKEN_BYTES: usize = 32;
/// Characters of a token.
pub const TOKEN_CHARACTERS: usize = 43;
/// Characters of a handle.
pub const HANDLE_CHARACTERS: usize = 22;
/// Bytes of an id, and of a verifier.
pub(crate) const ID_BYTES: usize = 16;
/// Tokens whose bytes are asked of the operating system together: a call costs more than the bytes.
const TOKENS_PER_CALL: usize = 32;
/// The version of the digest key's file.
const KEY_FILE_VERSION: u8 = 1;
/// Bytes of the digest key.
pub(crate) const DIGEST_KEY_BYTES: usize = 32;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What names a session in the index.
pub(crate) type Id = [u8; ID_BYTES];

/// A session's secret. It is shown to nobody by [`Debug`](std::fmt::Debug), and overwritten when it is dropped.
#[derive(Clone)]
pub struct Token([u8; TOKEN_CHARACTERS]);

impl Token {
    /// For frameworks that draw a session's id themselves: the token that stands for these bytes. At least 128 of their bits must be random, and
    /// known to nobody but the client. ([`Db::new_session_token`] draws all 256.)
    pub fn from_secret(secret: &[u8; 32]) -> Token {
        let mut token = Token([0; TOKEN_CHARACTERS]);
        encode(secret, &mut token.0);
        token
    }

    /// The 43 characters that the client gets, and brings back.
    pub fn as_str(&self) -> &str {
        // The alphabet is ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(redacted)")
    }
}

/// A token that no session has yet, with its digest.
#[derive(Debug)]
pub struct NewToken {
    /// What the client gets.
    pub token: Token,
    /// What the database keeps.
    pub digest: TokenDigest,
}

/// What the database knows of a token. Worth nothing to whoever has no token.
#[derive(Clone, Copy)]
pub struct TokenDigest {
    pub(crate) id: Id,
    pub(crate) verifier: [u8; ID_BYTES],
}

impl std::fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenDigest").field("handle", &Handle(self.id)).finish_non_exhaustive()
    }
}

impl TokenDigest {
    fn of(mac: &Hmac<Sha256>, bytes: &[u8; TOKEN_BYTES]) -> TokenDigest {
        let digest = mac.clone().chain_update(bytes).finalize().into_bytes();
        let part = |from: usize| std::array::from_fn(|at| digest[from + at]);
        TokenDigest { id: part(0), verifier: part(ID_BYTES) }
    }

    /// Whether the verifier is this one, in constant time.
    pub(crate) fn verifies(&self, verifier: &[u8; ID_BYTES]) -> bool {
        self.verifier.ct_eq(verifier).into()
    }

    /// The key to begin a transaction with that looks for the token's session. (If it has been rotated away, others are
    /// [asked for](super::SessionError::Needs).)
    pub fn key(&self) -> SessionKey {
        SessionKey::session(&self.id)
    }
}

/// A session's public name: it says nothing of its token, and stays when that is rotated.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(pub(crate) Id);

impl Handle {
    /// From its 22 characters; `None` if they are none.
    pub fn parse(text: &[u8]) -> Option<Handle> {
        let mut id = [0; ID_BYTES];
        (text.len() == HANDLE_CHARACTERS && decode(text, &mut id)).then_some(Handle(id))
    }

    /// Its characters.
    pub fn text(&self) -> [u8; HANDLE_CHARACTERS] {
        let mut text = [0; HANDLE_CHARACTERS];
        encode(&self.0, &mut text);
        text
    }
}

impl std::fmt::Display for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Handle({self})")
    }
}

/// A key that sessions are kept under, in databases that no other key can be in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    database: u8,
    bytes: SmallVec<[u8; 24]>,
}

impl std::fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SessionKey({}, {} bytes)", self.database, self.bytes.len())
    }
}

impl SessionKey {
    fn new(database: u8, bytes: &[u8]) -> SessionKey {
        SessionKey { database, bytes: SmallVec::from_slice(bytes) }
    }

    pub(crate) fn session(id: &Id) -> SessionKey {
        SessionKey::new(crate::key::SESSIONS, id)
    }

    pub(crate) fn token(id: &Id) -> SessionKey {
        SessionKey::new(crate::key::TOKENS, id)
    }

    pub(crate) fn user(user: &[u8]) -> SessionKey {
        SessionKey::new(crate::key::USERS, user)
    }

    pub(crate) fn system(bytes: &[u8]) -> SessionKey {
        SessionKey::new(crate::key::SYSTEM, bytes)
    }

    /// Hashed, for transactions of this database.
    pub fn hashed(&self, db: &Db) -> Key<'_> {
        db.inner.hasher.key(self.database, &self.bytes)
    }

    pub(crate) fn hashed_by(&self, hasher: &crate::key::KeyHasher) -> Key<'_> {
        hasher.key(self.database, &self.bytes)
    }
}

/// The digest key with its two inner states computed.
pub(crate) struct DigestKey(Hmac<Sha256>);

impl DigestKey {
    pub(crate) fn new(key: &[u8; DIGEST_KEY_BYTES]) -> DigestKey {
        match Hmac::new_from_slice(key) {
            Ok(mac) => DigestKey(mac),
            Err(_) => unreachable!("HMAC takes keys of any length"),
        }
    }
}

impl Db {
    /// The digest of a token that a client has sent; `None` if it is none, or no session was ever made here: nobody has it then.
    pub fn session_digest(&self, token: &[u8]) -> Option<TokenDigest> {
        let key = self.inner.sessions.digest_key.get()?;
        let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
        let is_one = token.len() == TOKEN_CHARACTERS && decode(token, &mut *bytes);
        is_one.then(|| TokenDigest::of(&key.0, &bytes))
    }

    /// Draws a new token. The first of a directory makes its digest key first, durably, which waits for the disk.
    ///
    /// # Errors
    /// [`Error::Random`], [`Error::Io`].
    pub fn new_session_token(&self) -> Result<NewToken, Error> {
        let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
        draw(&mut bytes)?;
        let digest = TokenDigest::of(&self.make_digest_key()?.0, &bytes);
        let mut token = Token([0; TOKEN_CHARACTERS]);
        encode(&*bytes, &mut token.0);
        Ok(NewToken { token, digest })
    }

    fn make_digest_key(&self) -> Result<&DigestKey, Error> {
        let sessions = &self.inner.sessions;
        if let Some(key) = sessions.digest_key.get() {
            return Ok(key);
        }
        let _one_at_a_time = sessions.making_key.lock();
        if let Some(key) = sessions.digest_key.get() {
            return Ok(key);
        }
        let mut content = Zeroizing::new([KEY_FILE_VERSION; 1 + DIGEST_KEY_BYTES]);
        let mut key = Zeroizing::new([0; DIGEST_KEY_BYTES]);
        match self.inner.storage.tuning.session_digest_key {
            Some(fixed) => *key = fixed,
            None => getrandom::fill(&mut *key).map_err(|error| Error::Random(error.to_string()))?,
        }
        content[1..].copy_from_slice(&*key);
        self.replace_side_file(DIGEST_KEY_FILE, &*content)?;
        Ok(sessions.digest_key.get_or_init(|| DigestKey::new(&key)))
    }
}

impl Inner {
    /// Reads the digest key, if the directory has one.
    pub(super) fn load_digest_key(&self) -> Result<(), Error> {
        let storage = &self.storage;
        let Some(content) =
            side_file::read(&*storage.fs, &storage.dir, DIGEST_KEY_FILE, &storage.database_id)?
                .map(Zeroizing::new)
        else {
            return Ok(());
        };
        let key = content.split_first().and_then(|(&version, key)| {
            let key: &[u8; DIGEST_KEY_BYTES] = key.try_into().ok()?;
            (version == KEY_FILE_VERSION).then_some(key)
        });
        let Some(key) = key else {
            return Err(Error::DamagedFile {
                path: storage.dir.join(DIGEST_KEY_FILE),
                offset: crate::file_header::BYTES as u64,
                reason: "it holds no digest key that this build knows",
            });
        };
        self.sessions.digest_key.get_or_init(|| DigestKey::new(key));
        Ok(())
    }
}

/// Random bytes that were asked for ahead; each is overwritten when it was used.
struct Drawn {
    bytes: Zeroizing<[u8; TOKEN_BYTES * TOKENS_PER_CALL]>,
    left: usize,
}

thread_local! {
    static DRAWN: RefCell<Drawn> =
        RefCell::new(Drawn { bytes: Zeroizing::new([0; TOKEN_BYTES * TOKENS_PER_CALL]), left: 0 });
}

fn draw(into: &mut [u8; TOKEN_BYTES]) -> Result<(), Error> {
    DRAWN.with_borrow_mut(|drawn| {
        if drawn.left == 0 {
            getrandom::fill(&mut *drawn.bytes).map_err(|error| Error::Random(error.to_string()))?;
            drawn.left = TOKENS_PER_CALL;
        }
        drawn.left -= 1;
        let from = drawn.left * TOKEN_BYTES;
        let own = &mut drawn.bytes[from..from + TOKEN_BYTES];
        into.copy_from_slice(own);
        own.zeroize();
        Ok(())
    })
}

/// Writes bytes in characters; `text` is as long as they need.
fn encode(bytes: &[u8], text: &mut [u8]) {
    let mut held = (0u32, 0);
    let mut input = bytes.iter();
    for character in text {
        if held.1 < 6 {
            // The last character holds what is left, and zeros.
            held = (held.0 << 8 | u32::from(*input.next().unwrap_or(&0)), held.1 + 8);
        }
        held.1 -= 6;
        *character = ALPHABET[(held.0 >> held.1 & 0x3F) as usize];
    }
}

/// What a character stands for, or 0xFF: without a branch or a table, so that how long it takes says nothing of a token.
#[inline]
fn value_of(character: u8) -> u8 {
    // All bits if it is from `first` to `last`.
    let within = |first: u8, last: u8| 0u8.wrapping_sub(u8::from(first <= character && character <= last));
    let plus = |add: u8| character.wrapping_add(add);
    let minus = |sub: u8| character.wrapping_sub(sub);
    within(b'A', b'Z') & minus(b'A')
        | within(b'a', b'z') & minus(b'a' - 26)
        | within(b'0', b'9') & plus(52 - b'0')
        | within(b'-', b'-') & 62
        | within(b'_', b'_') & 63
        | !(within(b'A', b'Z')
            | within(b'a', b'z')
            | within(b'0', b'9')
            | within(b'-', b'-')
            | within(b'_', b'_'))
}

/// Reads characters back: only those that [`encode`] writes for some bytes. `bytes` is as long as they need.
fn decode(text: &[u8], bytes: &mut [u8]) -> bool {
    debug_assert_eq!(text.len(), (bytes.len() * 8).div_ceil(6));
    let mut wrong = 0;
    for (characters, bytes) in text.chunks(4).zip(bytes.chunks_mut(3)) {
        let mut group = 0u32;
        for (at, &character) in characters.iter().enumerate() {
            let value = value_of(character);
            wrong |= value & 0xC0;
            group |= u32::from(value & 0x3F) << (26 - 6 * at);
        }
        for byte in bytes {
            *byte = (group >> 24) as u8;
            group <<= 8;
        }
        // Of the last character some bits are no part of a byte.
        wrong |= u8::from(group != 0);
    }
    wrong == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_alphabet_is_that_of_the_standard() {
        let mut text = [0; 8];
        encode(&[0xFB, 0xFF, 0xBF, 0x00, 0x10, 0x83], &mut text);
        assert_eq!(&text, b"-_-_ABCD");
        assert_eq!(Handle([0xFF; 16]).to_string(), "_____________________w");
    }

    #[test]
    fn each_character_stands_for_its_place_in_the_alphabet_and_others_for_nothing() {
        for character in 0..=u8::MAX {
            let place = ALPHABET.iter().position(|known| *known == character);
            assert_eq!(value_of(character), place.map_or(0xFF, |place| place as u8));
        }
    }

    proptest! {
        #[test]
        fn characters_come_back_and_only_one_text_is_meant(bytes: [u8; 32], at in 0usize..43, other: u8) {
            let mut text = [0; TOKEN_CHARACTERS];
            encode(&bytes, &mut text);
            let mut back = [0; 32];
            prop_assert!(decode(&text, &mut back));
            prop_assert_eq!(back, bytes);
            if text[at] != other {
                text[at] = other;
                prop_assert!(!decode(&text, &mut back) || back != bytes, "two texts are one token");
            }
        }
    }

    #[test]
    fn tokens_are_shown_to_nobody_and_differ() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        assert!(db.session_digest(&[b'A'; 43]).is_none(), "nobody has a token yet");
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..3 * TOKENS_PER_CALL {
            let new = db.new_session_token().unwrap();
            assert!(!format!("{new:?}").contains(new.token.as_str()));
            let again = db.session_digest(new.token.as_str().as_bytes()).unwrap();
            assert!(again.id == new.digest.id && again.verifies(&new.digest.verifier));
            assert!(seen.insert(new.token.as_str().to_owned()));
        }
        assert!(db.session_digest(b"short").is_none());
        let one = db.new_session_token().unwrap();
        drop(db);
        let db = Db::open(dir.path()).unwrap();
        assert_eq!(db.session_digest(one.token.as_str().as_bytes()).unwrap().id, one.digest.id);
    }
}
