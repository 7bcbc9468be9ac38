//! W-2 … W-5, W-9: what is said, and its only encoding.

use pouw_matmul::{
    Anchor, Core, Difficulty, DifficultyError, MAX_CERTIFICATE_BYTES, MAX_DEPTH, verify,
};

/// The environment variable that names the socket inside a task (W-1).
pub const SOCKET_VARIABLE: &str = "POUW_MINING_SOCKET";
/// The longest frame of a host after its length: a kind, and work with sixteen ancestors.
pub const MAX_HOST_FRAME: usize = 1 + WORK_BYTES + 16 * 32;
/// The longest frame of a task after its length: a kind, a number, a certificate.
pub const MAX_TASK_FRAME: usize = 1 + 8 + MAX_CERTIFICATE_BYTES;

/// Version, number, core, `D_1`, how many ancestors.
const WORK_BYTES: usize = 1 + 8 + 32 + 16 + 1;
const VERSION: u8 = 1;
const LENGTH_BYTES: usize = 4;

const WORK: u8 = 1;
const IDLE: u8 = 2;
const ANSWER: u8 = 3;
const WIN: u8 = 16;
const MINED: u8 = 17;

/// The block that a task may win.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The host's number for it; a certificate names it.
    pub id: u64,
    /// The hash of the block's header core.
    pub core: Core,
    /// `D_1`.
    pub difficulty: Difficulty,
    /// One to sixteen ancestors, the parent first: the anchors that B may be prepared for.
    pub ancestors: Vec<Anchor>,
}

/// What a host says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromHost {
    /// From now on this is to be mined.
    Work(Work),
    /// From now on there is nothing to be mined.
    Idle,
    /// What became of a certificate for the work with this number.
    Answer(u64, Answer),
}

/// What became of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It wins, and is the first for its work.
    Taken,
    /// It came too late: the work is over, or won.
    Stale,
    /// It proves nothing.
    Refused,
}

/// What a task says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromTask {
    /// An encoded certificate for the work with this number.
    Win(u64, Vec<u8>),
    /// How many multiplications mined since this connection began (W-9).
    Mined(u64),
}

/// Bytes that neither side says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A length outside the bounds.
    #[error("a frame of {length} bytes: from 1 to {bound} are allowed")]
    Length {
        /// What it says.
        length: u32,
        /// The most that this side may send.
        bound: usize,
    },
    /// An unknown kind.
    #[error("a frame of kind {0}, which this side does not send")]
    Kind(u8),
    /// A known kind with too few, or too many, bytes.
    #[error("a frame of kind {0} with {1} bytes")]
    Size(u8, usize),
    /// A later version.
    #[error("work of version {0}: this program knows version 1")]
    Version(u8),
    /// No ancestors, or more than the window has.
    #[error("work with {0} ancestors: from 1 to 16")]
    Ancestors(u8),
    /// A target that overflows.
    #[error(transparent)]
    Difficulty(#[from] DifficultyError),
    /// An answer that is none.
    #[error("answer {0}: 0 is taken, 1 stale, 2 refused")]
    Answer(u8),
}

impl Work {
    /// The depth of an ancestor: the parent's is 1.
    #[must_use]
    pub fn depth(&self, anchor: Anchor) -> Option<u8> {
        let place = self.ancestors.iter().position(|ancestor| *ancestor == anchor)?;
        u8::try_from(place + 1).ok().filter(|depth| *depth <= MAX_DEPTH)
    }

    /// Verifies a certificate for this work.
    ///
    /// # Errors
    /// As [`verify`].
    pub fn check(&self, certificate: &[u8]) -> Result<(), pouw_matmul::Rejection> {
        let work = pouw_matmul::Work {
            core: self.core,
            ancestors: &self.ancestors,
            difficulty: self.difficulty,
        };
        verify(certificate, &work).map(|_| ())
    }
}

impl FromHost {
    /// The frame, its length first.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        match self {
            Self::Work(work) => {
                body.extend([WORK, VERSION]);
                body.extend(work.id.to_le_bytes());
                body.extend(work.core.0);
                body.extend(work.difficulty.macs().to_le_bytes());
                let ancestors = work.ancestors.iter().take(usize::from(MAX_DEPTH));
                body.push(u8::try_from(ancestors.len()).unwrap_or(MAX_DEPTH));
                ancestors.for_each(|anchor| body.extend(anchor.0));
            }
            Self::Idle => body.push(IDLE),
            Self::Answer(id, answer) => {
                body.push(ANSWER);
                body.extend(id.to_le_bytes());
                body.push(match answer {
                    Answer::Taken => 0,
                    Answer::Stale => 1,
                    Answer::Refused => 2,
                });
            }
        }
        framed(&body)
    }

    /// Reads a frame without its length.
    ///
    /// # Errors
    /// Anything that [`FromHost::encode`] does not write.
    pub fn decode(frame: &[u8]) -> Result<Self, ProtocolError> {
        let (kind, body) = kind_of(frame, MAX_HOST_FRAME)?;
        let size = || ProtocolError::Size(kind, body.len());
        match kind {
            WORK => {
                let mut rest = Reader(body);
                let version = rest.byte().ok_or_else(size)?;
                if version != VERSION {
                    return Err(ProtocolError::Version(version));
                }
                let id = u64::from_le_bytes(rest.array().ok_or_else(size)?);
                let core = Core(rest.array().ok_or_else(size)?);
                let macs = u128::from_le_bytes(rest.array().ok_or_else(size)?);
                let count = rest.byte().ok_or_else(size)?;
                if count == 0 || count > MAX_DEPTH {
                    return Err(ProtocolError::Ancestors(count));
                }
                let ancestors = (0..count).map(|_| rest.array().map(Anchor));
                let ancestors = ancestors.collect::<Option<Vec<_>>>().ok_or_else(size)?;
                if !rest.0.is_empty() {
                    return Err(size());
                }
                Ok(Self::Work(Work { id, core, difficulty: Difficulty::new(macs)?, ancestors }))
            }
            IDLE if body.is_empty() => Ok(Self::Idle),
            ANSWER => {
                let (id, rest) = body.split_first_chunk().ok_or_else(size)?;
                let answer = match rest {
                    [0] => Answer::Taken,
                    [1] => Answer::Stale,
                    [2] => Answer::Refused,
                    [other] => return Err(ProtocolError::Answer(*other)),
                    _ => return Err(size()),
                };
                Ok(Self::Answer(u64::from_le_bytes(*id), answer))
            }
            IDLE => Err(size()),
            other => Err(ProtocolError::Kind(other)),
        }
    }
}

impl FromTask {
    /// The frame, its length first.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        match self {
            Self::Win(id, certificate) => {
                body.push(WIN);
                body.extend(id.to_le_bytes());
                body.extend(certificate);
            }
            Self::Mined(macs) => {
                body.push(MINED);
                body.extend(macs.to_le_bytes());
            }
        }
        framed(&body)
    }

    /// Reads a frame without its length; the certificate is not looked at.
    ///
    /// # Errors
    /// Anything that [`FromTask::encode`] does not write.
    pub fn decode(frame: &[u8]) -> Result<Self, ProtocolError> {
        let (kind, body) = kind_of(frame, MAX_TASK_FRAME)?;
        let size = || ProtocolError::Size(kind, body.len());
        let (number, rest) = match kind {
            WIN | MINED => body.split_first_chunk().ok_or_else(size)?,
            other => return Err(ProtocolError::Kind(other)),
        };
        let number = u64::from_le_bytes(*number);
        match kind {
            WIN => Ok(Self::Win(number, rest.to_vec())),
            _ if rest.is_empty() => Ok(Self::Mined(number)),
            _ => Err(size()),
        }
    }
}

/// The length that a frame's first four bytes say, within the bound of who sends it.
///
/// # Errors
/// Nothing, or more than the bound.
pub fn length_of(head: [u8; LENGTH_BYTES], bound: usize) -> Result<usize, ProtocolError> {
    let length = u32::from_le_bytes(head);
    let wide = usize::try_from(length).ok().filter(|wide| (1..=bound).contains(wide));
    wide.ok_or(ProtocolError::Length { length, bound })
}

fn kind_of(frame: &[u8], bound: usize) -> Result<(u8, &[u8]), ProtocolError> {
    let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    let (kind, body) = frame.split_first().ok_or(ProtocolError::Length { length, bound })?;
    if frame.len() > bound {
        return Err(ProtocolError::Length { length, bound });
    }
    Ok((*kind, body))
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let mut frame = length.to_le_bytes().to_vec();
    frame.extend(body);
    frame
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn work(ancestors: u8) -> Work {
        Work {
            id: 7,
            core: Core([3; 32]),
            difficulty: Difficulty::new(1 << 40).unwrap(),
            ancestors: (0..ancestors).map(|place| Anchor([place; 32])).collect(),
        }
    }

    #[test]
    fn w3_what_a_host_says_is_read_as_it_was_said() {
        let answers = [Answer::Taken, Answer::Stale, Answer::Refused];
        let answers = answers.map(|answer| FromHost::Answer(u64::MAX, answer));
        let works = [1, 16].map(|count| FromHost::Work(work(count)));
        for message in answers.into_iter().chain(works).chain([FromHost::Idle]) {
            let frame = message.encode();
            let (head, body) = frame.split_first_chunk().unwrap();
            assert_eq!(length_of(*head, MAX_HOST_FRAME), Ok(body.len()));
            assert_eq!(FromHost::decode(body), Ok(message));
        }
    }

    #[test]
    fn w9_what_a_task_says_is_read_as_it_was_said() {
        for message in [FromTask::Win(3, vec![1, 2]), FromTask::Mined(0), FromTask::Mined(u64::MAX)]
        {
            let frame = message.encode();
            let (head, body) = frame.split_first_chunk().unwrap();
            assert_eq!(length_of(*head, MAX_TASK_FRAME), Ok(body.len()));
            assert_eq!(FromTask::decode(body), Ok(message));
        }
        assert_eq!(FromTask::decode(&[MINED; 10]), Err(ProtocolError::Size(MINED, 9)));
        assert_eq!(FromTask::decode(&[MINED; 8]), Err(ProtocolError::Size(MINED, 7)));
        assert_eq!(FromTask::decode(&[WORK; 9]), Err(ProtocolError::Kind(WORK)));
    }

    #[test]
    fn w2_a_length_outside_the_bounds_is_refused_before_anything_is_read() {
        for (length, bound) in [(0, 9), (10, 9), (u32::MAX, MAX_TASK_FRAME)] {
            let error = length_of(length.to_le_bytes(), bound);
            assert_eq!(error, Err(ProtocolError::Length { length, bound }));
        }
        assert_eq!(length_of(9_u32.to_le_bytes(), 9), Ok(9));
    }

    #[test]
    fn w3_work_that_cannot_be_mined_is_refused_by_name() {
        let good = FromHost::Work(work(2)).encode()[4..].to_vec();
        let changed = |place: usize, value: u8| {
            let mut frame = good.clone();
            frame[place] = value;
            FromHost::decode(&frame)
        };
        let count = 1 + WORK_BYTES - 1;
        assert_eq!(changed(1, 2), Err(ProtocolError::Version(2)));
        assert_eq!(changed(count, 0), Err(ProtocolError::Ancestors(0)));
        assert_eq!(changed(count, 17), Err(ProtocolError::Ancestors(17)));
        assert_eq!(changed(count, 3), Err(ProtocolError::Size(WORK, good.len() - 1)));
        assert_eq!(changed(count, 1), Err(ProtocolError::Size(WORK, good.len() - 1)));
        assert_eq!(changed(0, 99), Err(ProtocolError::Kind(99)));
        assert_eq!(changed(0, WIN), Err(ProtocolError::Kind(WIN)));
        // D_1 = 2^40 becomes 0: no target.
        assert_eq!(changed(42 + 5, 0), Err(DifficultyError(0).into()));
        assert_eq!(
            FromHost::decode(&[ANSWER, 0, 0, 0, 0, 0, 0, 0, 0, 9]),
            Err(ProtocolError::Answer(9))
        );
    }

    proptest! {
        #[test]
        fn w2_what_decodes_has_one_encoding(bytes in proptest::collection::vec(0_u8..20, 0..100)) {
            if let Ok(message) = FromHost::decode(&bytes) {
                prop_assert_eq!(&message.encode()[4..], &bytes);
            }
            if let Ok(message) = FromTask::decode(&bytes) {
                prop_assert_eq!(&message.encode()[4..], &bytes);
            }
        }
    }
}
