//! Decoding without targets: the most probable token at every step, or a beam of hypotheses.

use ndarray::{Array2, ArrayView1, ArrayView3, Axis};
use tensor_ops::{Element, check_not_empty, log_softmax};

use super::forward::most_probable;
use super::{DecoderStream, Seq2Seq};
use crate::AttentionError;
use crate::error::invalid;

/// A decoded sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis<T> {
    /// The tokens, without start and end token.
    pub tokens: Vec<usize>,
    /// Whether the end token was said.
    pub ended: bool,
    /// log p of all tokens, the end token included.
    pub log_probability: T,
    /// The log-probability after length normalisation: what hypotheses are ranked by.
    pub score: T,
    /// The alignment, `[tokens and the end token, source time]`.
    pub weights: Array2<T>,
}

/// The options of a beam search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BeamConfig {
    /// Hypotheses that are kept at every step.
    pub width: usize,
    /// Tokens, the end token included, after which a hypothesis is cut off.
    pub max_length: usize,
    /// α: the score is log p / ((5 + n) / 6)^α for n tokens (Wu et al., "Google's neural machine translation system",
    /// 2016). 0 prefers short hypotheses.
    pub length_normalisation: f64,
}

/// The widest beam: every hypothesis holds a state and an alignment.
const WIDEST: usize = 1 << 12;

impl BeamConfig {
    /// A beam of 4 with α = 0.6 and at most so many tokens.
    pub fn new(max_length: usize) -> Self {
        Self { width: 4, max_length, length_normalisation: 0.6 }
    }

    fn validate(&self) -> Result<(), AttentionError> {
        const NAME: &str = "BeamConfig";
        check_not_empty(NAME, "width", self.width)?;
        check_not_empty(NAME, "max_length", self.max_length)?;
        if self.width > WIDEST {
            return Err(invalid(NAME, "width", "at most 4096", self.width).into());
        }
        if !(self.length_normalisation >= 0.0 && self.length_normalisation.is_finite()) {
            let found = self.length_normalisation;
            return Err(invalid(NAME, "length_normalisation", "finite and not negative", found).into());
        }
        Ok(())
    }

    fn score<T: Element>(&self, log_probability: T, tokens: usize) -> T {
        log_probability / T::from_f64(((5.0 + tokens as f64) / 6.0).powf(self.length_normalisation))
    }
}

/// A hypothesis that goes on.
#[derive(Clone)]
struct Partial<T> {
    tokens: Vec<usize>,
    log_probability: T,
    weights: Array2<T>,
}

impl<T: Element> Partial<T> {
    fn empty(columns: usize) -> Self {
        Self { tokens: Vec::new(), log_probability: T::zero(), weights: Array2::zeros((0, columns)) }
    }

    fn extended(&self, token: usize, log_probability: T, weights: ArrayView1<'_, T>) -> Self {
        let mut extended = self.clone();
        extended.tokens.push(token);
        extended.log_probability = log_probability;
        extended.weights.push_row(weights).expect("rows of the source's length");
        extended
    }

    fn finish(mut self, config: &BeamConfig, end_token: usize) -> Hypothesis<T> {
        let score = config.score(self.log_probability, self.tokens.len());
        let ended = self.tokens.last() == Some(&end_token);
        if ended {
            self.tokens.pop();
        }
        let Self { tokens, log_probability, weights } = self;
        Hypothesis { tokens, ended, log_probability, score, weights }
    }
}

impl<T: Element> Seq2Seq<T> {
    /// Decodes every source with the most probable token at every step, the first of equal ones, up to the end token or
    /// `max_length` tokens.
    ///
    /// # Errors
    /// As [`Self::encode`], and if `max_length` is 0.
    pub fn greedy(
        &self,
        source: ArrayView3<'_, T>,
        lengths: Option<&[usize]>,
        max_length: usize,
    ) -> Result<Vec<Hypothesis<T>>, AttentionError> {
        let config = BeamConfig { width: 1, length_normalisation: 0.0, max_length };
        config.validate()?;
        let encoded = self.encode(source, lengths)?;
        let batch = encoded.batch();
        let mut partials = vec![Partial::empty(encoded.clips.time); batch];
        let mut stream = self.decoder_stream(encoded, (0..batch).collect())?;
        let mut tokens = vec![self.config.start_token; batch];
        for _ in 0..max_length {
            let log_probabilities = log_softmax(stream.step(&tokens)?, 1, None)?;
            for (row, partial) in partials.iter_mut().enumerate() {
                if partial.tokens.last() == Some(&self.config.end_token) {
                    continue;
                }
                let token = most_probable(log_probabilities.row(row));
                let log_probability = partial.log_probability + log_probabilities[[row, token]];
                *partial = partial.extended(token, log_probability, stream.weights().row(row));
                tokens[row] = token;
            }
            if partials.iter().all(|partial| partial.tokens.last() == Some(&self.config.end_token)) {
                break;
            }
        }
        Ok(partials.into_iter().map(|partial| partial.finish(&config, self.config.end_token)).collect())
    }

    /// Decodes every source with a beam: the hypotheses that were found for it, at most as many as the beam is wide, the
    /// best first.
    ///
    /// At every step the most probable continuations of all hypotheses are kept, as many as the beam is wide; one that ends
    /// leaves the beam. The search is over when no hypothesis that goes on can still be better, or all are cut off.
    ///
    /// # Errors
    /// As [`Self::encode`], and for a width or length of 0, a width above 4096, or a normalisation that is negative or not finite.
    pub fn beam_search(
        &self,
        source: ArrayView3<'_, T>,
        lengths: Option<&[usize]>,
        config: &BeamConfig,
    ) -> Result<Vec<Vec<Hypothesis<T>>>, AttentionError> {
        config.validate()?;
        let encoded = self.encode(source, lengths)?;
        let width = config.width;
        (0..encoded.batch())
            .map(|sequence| {
                let stream = self.decoder_stream(encoded.clone(), vec![sequence; width])?;
                self.search(stream, encoded.clips.time, width, config)
            })
            .collect()
    }

    fn search(
        &self,
        mut stream: DecoderStream<T>,
        columns: usize,
        width: usize,
        config: &BeamConfig,
    ) -> Result<Vec<Hypothesis<T>>, AttentionError> {
        let end_token = self.config.end_token;
        let mut beam = vec![Partial::empty(columns)];
        let mut finished: Vec<Hypothesis<T>> = Vec::new();
        let mut tokens = vec![self.config.start_token; width];
        for _ in 0..config.max_length {
            let log_probabilities = log_softmax(stream.step(&tokens)?, 1, None)?;
            // Continuations by falling probability; of equal ones the first hypothesis and token.
            let mut candidates: Vec<(T, usize, usize)> = Vec::new();
            for (row, partial) in beam.iter().enumerate() {
                for (token, &log_probability) in log_probabilities.index_axis(Axis(0), row).iter().enumerate() {
                    candidates.push((partial.log_probability + log_probability, row, token));
                }
            }
            candidates.sort_by(|a, b| b.0.to_f64().total_cmp(&a.0.to_f64()));
            let mut next = Vec::with_capacity(width);
            let mut parents = Vec::with_capacity(width);
            for (log_probability, row, token) in candidates.into_iter().take(width) {
                let extended = beam[row].extended(token, log_probability, stream.weights().row(row));
                if token == end_token {
                    finished.push(extended.finish(config, end_token));
                } else {
                    next.push(extended);
                    parents.push(row);
                }
            }
            beam = next;
            if beam.is_empty() || self.is_decided(&beam, &mut finished, width, config) {
                break;
            }
            parents.resize(width, 0);
            stream.reorder(&parents);
            for (token, partial) in tokens.iter_mut().zip(&beam) {
                *token = *partial.tokens.last().expect("a step was taken");
            }
        }
        finished.extend(beam.into_iter().map(|partial| partial.finish(config, end_token)));
        rank(&mut finished, width);
        Ok(finished)
    }

    /// Whether as many hypotheses have ended as are asked for and none that goes on can still be better: log p only falls,
    /// and the divisor is largest at the greatest length.
    fn is_decided(
        &self,
        beam: &[Partial<T>],
        finished: &mut Vec<Hypothesis<T>>,
        width: usize,
        config: &BeamConfig,
    ) -> bool {
        rank(finished, width);
        let (Some(worst), true) = (finished.last(), finished.len() == width) else { return false };
        let possible = |partial: &Partial<T>| config.score(partial.log_probability, config.max_length);
        beam.iter().all(|partial| possible(partial) <= worst.score)
    }
}

/// Keeps the best, the best first.
fn rank<T: Element>(finished: &mut Vec<Hypothesis<T>>, width: usize) {
    finished.sort_by(|a, b| b.score.to_f64().total_cmp(&a.score.to_f64()));
    finished.truncate(width);
}
