//! What a directive is: its name, what values it takes and how they are written. Knows nothing of what the values do.

use crate::notify;
use crate::resp::parse_integer;
use std::borrow::Cow;

/// One row of the table of directives.
#[derive(Debug)]
pub struct Directive {
    /// Name as in redis.conf.
    pub name: &'static str,
    /// Another name for the same value (`slaveof`-like leftovers), reported as well.
    pub alias: Option<&'static str>,
    /// What values it takes.
    pub kind: Kind,
    /// Default, in canonical form (as `CONFIG GET` reports it).
    pub default: &'static str,
    /// Whether `CONFIG SET` may change it.
    pub mutable: bool,
    /// What it means here.
    pub role: Role,
    /// One line.
    pub summary: &'static str,
}

/// What a directive means to Sessile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It does what the summary says.
    Used,
    /// Accepted and reported, since configurations and clients carry it, with this said in the log if it is set to anything but the default.
    Ignored,
}

/// What values a directive takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `yes` or `no`.
    Flag,
    /// A whole number.
    Integer {
        /// Least.
        min: i64,
        /// Greatest.
        max: i64,
    },
    /// A number of bytes, with units such as `64mb`.
    Bytes {
        /// Least.
        min: i64,
        /// Greatest.
        max: i64,
    },
    /// File permissions, octal.
    Octal,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One word, anything.
    Text,
    /// Any number of words.
    Words,
    /// Any number of percentages.
    Percentiles,
    /// Pairs of seconds and changes; may be given repeatedly.
    SavePoints,
    /// Letters of classes of keyspace events.
    EventClasses,
    /// Client class, hard limit, soft limit, soft seconds; may be given repeatedly.
    OutputLimits,
}

/// The client classes of `client-output-buffer-limit`.
pub const OUTPUT_CLASSES: [&str; 3] = ["normal", "slave", "pubsub"];

impl Kind {
    /// A canonical value as `CONFIG GET` shows it.
    pub fn shown(self, value: &str) -> Cow<'_, str> {
        match self {
            Kind::EventClasses => notify::letters_shown(value).into(),
            _ => value.into(),
        }
    }

    /// Whether a value is several words, which a file may give bare.
    pub fn takes_words(self) -> bool {
        matches!(self, Kind::Words | Kind::Percentiles | Kind::SavePoints | Kind::OutputLimits)
    }

    /// The canonical form of the value given as `words`; `current` is the value so far (for the kinds that merge).
    ///
    /// # Errors
    ///
    /// What is wrong with the value, in Redis's words.
    pub fn canonical(self, words: &[&str], current: &str) -> Result<String, Cow<'static, str>> {
        if !self.takes_words() && words.len() != 1 {
            return Err("wrong number of arguments".into());
        }
        let word = words.first().copied().unwrap_or_default();
        match self {
            Kind::Flag => match word.to_ascii_lowercase() {
                flag if flag == "yes" || flag == "no" => Ok(flag),
                _ => Err("argument must be 'yes' or 'no'".into()),
            },
            Kind::Integer { min, max } => {
                let number =
                    parse_integer(word.as_bytes()).ok_or("argument couldn't be parsed into an integer")?;
                in_range(number, min, max)
            }
            Kind::Bytes { min, max } => {
                let bytes = parse_bytes(word).ok_or("argument must be a memory value")?;
                in_range(bytes, min, max)
            }
            Kind::Octal => match u32::from_str_radix(word, 8) {
                Ok(mode) if mode <= 0o777 => Ok(format!("{mode:o}")),
                Ok(_) => Err("argument must be between 0 and 777 inclusive".into()),
                Err(_) => Err("argument couldn't be parsed into an integer".into()),
            },
            Kind::Choice(choices) => choices
                .iter()
                .find(|choice| choice.eq_ignore_ascii_case(word))
                .map(|choice| (*choice).to_owned())
                .ok_or_else(|| {
                    format!("argument(s) must be one of the following: {}", choices.join(", ")).into()
                }),
            Kind::Text => Ok(word.to_owned()),
            // A word that holds several is several: nothing says later where it was quoted.
            Kind::Words => {
                let words = words.iter().flat_map(|word| word.split_ascii_whitespace());
                Ok(words.collect::<Vec<_>>().join(" "))
            }
            Kind::Percentiles => {
                let words = words.iter().filter(|word| !word.is_empty());
                let percentiles: Result<Vec<String>, _> = words.map(|word| percentile(word)).collect();
                Ok(percentiles?.join(" "))
            }
            Kind::SavePoints => {
                let words: Vec<&str> = words.iter().copied().filter(|word| !word.is_empty()).collect();
                let valid = words.len().is_multiple_of(2)
                    && words.chunks_exact(2).all(|pair| {
                        parse_integer(pair[0].as_bytes()).is_some_and(|seconds| seconds >= 1)
                            && parse_integer(pair[1].as_bytes()).is_some_and(|changes| changes >= 0)
                    });
                if valid { Ok(words.join(" ")) } else { Err("Invalid save parameters".into()) }
            }
            Kind::EventClasses => notify::parse(word)
                .map(notify::letters)
                .ok_or_else(|| "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into()),
            Kind::OutputLimits => merge_output_limits(words, current),
        }
    }
}

fn in_range(number: i64, min: i64, max: i64) -> Result<String, Cow<'static, str>> {
    if (min..=max).contains(&number) {
        Ok(number.to_string())
    } else {
        Err(format!("argument must be between {min} and {max} inclusive").into())
    }
}

/// A percentage as Redis writes it.
fn percentile(word: &str) -> Result<String, Cow<'static, str>> {
    match word.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => {
            let text = format!("{percent:.6}");
            Ok(text.trim_end_matches('0').trim_end_matches('.').to_owned())
        }
        Ok(_) => Err("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".into()),
        Err(_) => Err("Invalid latency-tracking-info-percentiles parameters".into()),
    }
}

/// A number of bytes: `1024`, `64mb`, `1g`. As in Redis, `k`, `m` and `g` are powers of 1000, `kb`, `mb` and `gb` powers of 1024.
pub fn parse_bytes(text: &str) -> Option<i64> {
    let digits = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let factor: i64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1000 * 1000,
        "mb" => 1 << 20,
        "g" => 1000 * 1000 * 1000,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(factor)
}

fn merge_output_limits(words: &[&str], current: &str) -> Result<String, Cow<'static, str>> {
    if words.is_empty() || !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".into());
    }
    let mut limits: Vec<String> = current.split(' ').map(str::to_owned).collect();
    for quad in words.chunks_exact(4) {
        let class = match quad[0].to_ascii_lowercase().as_str() {
            "replica" => "slave".to_owned(),
            other => other.to_owned(),
        };
        let Some(index) = OUTPUT_CLASSES.iter().position(|known| *known == class) else {
            return Err("Invalid client class specified in buffer limit configuration.".into());
        };
        let (Some(hard), Some(soft), Some(seconds)) = (
            parse_bytes(quad[1]),
            parse_bytes(quad[2]),
            parse_integer(quad[3].as_bytes()).filter(|seconds| *seconds >= 0),
        ) else {
            return Err("Error in hard, soft or soft_seconds setting in buffer limit configuration.".into());
        };
        for (place, value) in limits.iter_mut().skip(index * 4 + 1).zip([hard, soft, seconds]) {
            *place = value.to_string();
        }
    }
    Ok(limits.join(" "))
}
