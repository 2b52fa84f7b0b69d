//! The `struct` library (Roberto Ierusalimschy's, 0.2): numbers and strings in the layouts of C.

use super::library_functions::{Failure, Outcome, begin_long, number_at, string_at};
use super::vm::Shared;
use mlua::{Lua, MultiValue, Value};

/// The widest integer, and the widest alignment.
const WIDTH_MAX: usize = 32;
/// What the alignment is where `!` says none.
const ALIGNMENT: usize = 8;

/// Reads a format, option by option.
struct Format<'a> {
    text: &'a [u8],
    at: usize,
    little: bool,
    alignment: usize,
    /// Whose format it is, for errors.
    function: &'static str,
}

/// One option of a format.
struct Item {
    option: u8,
    size: usize,
    /// Zero bytes before it.
    padding: usize,
}

impl<'a> Format<'a> {
    fn new(text: &'a [u8], function: &'static str) -> Format<'a> {
        Format { text, at: 0, little: true, alignment: 1, function }
    }

    /// The number that follows, or `default`.
    fn number(&mut self, default: usize) -> Result<usize, Failure> {
        let digits = self.text.get(self.at..).unwrap_or_default();
        let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return Ok(default);
        }
        let mut number = 0_usize;
        for digit in digits.iter().take(count) {
            number = number
                .checked_mul(10)
                .and_then(|number| number.checked_add(usize::from(digit - b'0')))
                .filter(|&number| number <= i32::MAX as usize)
                .ok_or("integral size overflow")?;
        }
        self.at += count;
        Ok(number)
    }

    /// The next option, for data that so far is `length` bytes long.
    fn next(&mut self, length: usize) -> Result<Option<Item>, Failure> {
        loop {
            let Some(&option) = self.text.get(self.at) else { return Ok(None) };
            self.at += 1;
            let size = match option {
                b'b' | b'B' | b'x' => 1,
                b'h' | b'H' => 2,
                b'l' | b'L' | b'T' | b'd' => 8,
                b'f' => 4,
                b'c' => self.number(1)?,
                b's' => 0,
                b'i' | b'I' => {
                    let size = self.number(4)?;
                    if size > WIDTH_MAX {
                        return Err(
                            format!("integral size {size} is larger than limit of {WIDTH_MAX}").into()
                        );
                    }
                    size
                }
                b' ' => continue,
                b'>' => {
                    self.little = false;
                    continue;
                }
                b'<' => {
                    self.little = true;
                    continue;
                }
                b'!' => {
                    let alignment = self.number(ALIGNMENT)?;
                    if alignment == 0 || !alignment.is_power_of_two() {
                        return Err(format!("alignment {alignment} is not a power of 2").into());
                    }
                    self.alignment = alignment;
                    continue;
                }
                other => {
                    let function = self.function;
                    return Err(format!(
                        "bad argument #1 to '{function}' (invalid format option '{}')",
                        char::from(other)
                    )
                    .into());
                }
            };
            let align = size.min(self.alignment);
            let padding = if align > 1 && option != b'c' { length.wrapping_neg() & (align - 1) } else { 0 };
            return Ok(Some(Item { option, size, padding }));
        }
    }
}

/// `struct.pack(format, …)`
pub(super) fn pack(lua: &Lua, shared: &Shared, args: &MultiValue) -> Outcome {
    let text = string_at(lua, args, 0, "pack")?;
    // The library has a nil behind its arguments, and says so.
    let mut args = args.clone();
    args.push_back(Value::Nil);
    let text = text.as_bytes();
    let mut format = Format::new(&text, "pack");
    let (mut out, mut at) = (Vec::new(), 1);
    while let Some(item) = format.next(out.len())? {
        out.resize(out.len() + item.padding, 0);
        match item.option {
            b'x' => out.push(0),
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                put_integer(&mut out, integer_of(number_at(&args, at, "pack")?), item.size, format.little);
                at += 1;
            }
            b'f' => {
                let number = number_at(&args, at, "pack")? as f32;
                out.extend_from_slice(&if format.little {
                    number.to_le_bytes()
                } else {
                    number.to_be_bytes()
                });
                at += 1;
            }
            b'd' => {
                let number = number_at(&args, at, "pack")?;
                out.extend_from_slice(&if format.little {
                    number.to_le_bytes()
                } else {
                    number.to_be_bytes()
                });
                at += 1;
            }
            _ => {
                let value = string_at(lua, &args, at, "pack")?;
                let value = value.as_bytes();
                begin_long(shared, value.len())?;
                let size = if item.option == b's' || item.size == 0 { value.len() } else { item.size };
                let Some(bytes) = value.get(..size) else {
                    return Err(format!("bad argument #{} to 'pack' (string too short)", at + 2).into());
                };
                out.extend_from_slice(bytes);
                if item.option == b's' {
                    out.push(0);
                }
                at += 1;
            }
        }
        if out.len() > shared.bytes_max {
            return Err("not enough memory".into());
        }
    }
    Ok(MultiValue::from_iter([Value::String(lua.create_string(out)?)]))
}

/// A number as the 64 bits that C makes of it.
fn integer_of(number: f64) -> u64 {
    if number < 0.0 {
        if number >= -9_223_372_036_854_775_808.0 { number as i64 as u64 } else { i64::MIN as u64 }
    } else {
        number as u64
    }
}

fn put_integer(out: &mut Vec<u8>, value: u64, size: usize, little: bool) {
    let start = out.len();
    out.extend((0..size).map(|at| if at < 8 { (value >> (8 * at)) as u8 } else { 0 }));
    if !little && let Some(bytes) = out.get_mut(start..) {
        bytes.reverse();
    }
}

fn take_integer(bytes: &[u8], little: bool, signed: bool) -> f64 {
    let mut value = 0_u64;
    let mut step = |byte: &u8| value = value << 8 | u64::from(*byte);
    if little {
        bytes.iter().rev().for_each(&mut step);
    } else {
        bytes.iter().for_each(&mut step);
    }
    if !signed {
        return value as f64;
    }
    let unused = 64_u32.saturating_sub(8 * bytes.len() as u32);
    if unused >= 64 { 0.0 } else { ((value << unused) as i64 >> unused) as f64 }
}

/// `struct.unpack(format, text, position)`
pub(super) fn unpack(lua: &Lua, shared: &Shared, args: &MultiValue) -> Outcome {
    let (text, data) = (string_at(lua, args, 0, "unpack")?, string_at(lua, args, 1, "unpack")?);
    let (text, data) = (text.as_bytes(), data.as_bytes());
    begin_long(shared, text.len())?;
    let position = match args.get(2) {
        None | Some(Value::Nil) => 0,
        Some(_) => {
            let position = number_at(args, 2, "unpack")? as i64;
            if position < 1 {
                return Err("bad argument #3 to 'unpack' (offset must be 1 or greater)".into());
            }
            // Beyond the end there is nothing to take, however far.
            (position as usize - 1).min(data.len() + 1)
        }
    };
    let too_short = || Failure::from("bad argument #2 to 'unpack' (data string too short)");
    let mut format = Format::new(&text, "unpack");
    let (mut results, mut at) = (Vec::new(), position);
    while let Some(item) = format.next(at)? {
        at = at.checked_add(item.padding).ok_or_else(too_short)?;
        let fits = at.checked_add(item.size).is_some_and(|end| end <= data.len());
        if !fits {
            return Err(too_short());
        }
        let rest = data.get(at..).unwrap_or_default();
        let bytes = rest.get(..item.size).unwrap_or_default();
        if results.len() >= 8000 {
            return Err("too many results to unpack".into());
        }
        match item.option {
            b'x' => {}
            b'b' | b'h' | b'l' | b'i' => {
                results.push(Value::Number(take_integer(bytes, format.little, true)));
            }
            b'B' | b'H' | b'L' | b'T' | b'I' => {
                results.push(Value::Number(take_integer(bytes, format.little, false)));
            }
            b'f' => {
                let bytes: [u8; 4] = bytes.try_into().map_err(|_| too_short())?;
                let number =
                    if format.little { f32::from_le_bytes(bytes) } else { f32::from_be_bytes(bytes) };
                results.push(Value::Number(f64::from(number)));
            }
            b'd' => {
                let bytes: [u8; 8] = bytes.try_into().map_err(|_| too_short())?;
                let number =
                    if format.little { f64::from_le_bytes(bytes) } else { f64::from_be_bytes(bytes) };
                results.push(Value::Number(number));
            }
            b'c' if item.size == 0 => {
                // The length is the number that was read last.
                let length = match results.pop() {
                    Some(Value::Number(number)) if number >= 0.0 => number as usize,
                    _ => return Err("format 'c0' needs a previous size".into()),
                };
                let bytes = rest.get(..length).ok_or_else(too_short)?;
                results.push(Value::String(lua.create_string(bytes)?));
                at += length;
            }
            b'c' => results.push(Value::String(lua.create_string(bytes)?)),
            _ => {
                let length = memchr::memchr(0, rest).ok_or("unfinished string in data")?;
                results.push(Value::String(lua.create_string(rest.get(..length).unwrap_or_default())?));
                at += length + 1;
            }
        }
        at += item.size;
    }
    results.push(Value::Number((at + 1) as f64));
    Ok(MultiValue::from_iter(results))
}

/// `struct.size(format)`
pub(super) fn size(lua: &Lua, _: &Shared, args: &MultiValue) -> Outcome {
    let text = string_at(lua, args, 0, "size")?;
    let text = text.as_bytes();
    let mut format = Format::new(&text, "size");
    let mut length = 0_usize;
    while let Some(item) = format.next(length)? {
        if item.option == b's' {
            return Err("bad argument #1 to 'size' (option 's' has no fixed size)".into());
        }
        if item.option == b'c' && item.size == 0 {
            return Err("bad argument #1 to 'size' (option 'c0' has no fixed size)".into());
        }
        length = length.saturating_add(item.padding + item.size);
    }
    Ok(MultiValue::from_iter([Value::Number(length as f64)]))
}
