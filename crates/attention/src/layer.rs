//! Attention of many queries to the keys and values of their sequence.

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, s};
use rayon::prelude::*;
use tensor_ops::{Element, TensorError, check_axis, check_not_empty};

use crate::clips::Clips;
use crate::packed::{PackedScore, ScoreBackward};
use crate::row::{Attended, Operands, RowGradients};
use crate::vector::add_rows;
use crate::{Attention, AttentionError, AttentionMask, Score};

const NAME: &str = "Attention";

/// What attention yields.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionOutput<T> {
    /// c = Σⱼ aⱼ vⱼ: `[batch, queries, value features]`; zero beyond the query lengths.
    pub context: Array3<T>,
    /// a = softmax(e / τ): `[batch, queries, keys]`; zero for keys that are not attended to.
    pub weights: Array3<T>,
    /// e: `[batch, queries, keys]`; −∞ for keys that are not attended to.
    pub scores: Array3<T>,
}

/// The keys of a batch in the form in which queries are compared with them: computed once, used by many calls.
#[derive(Clone, Debug)]
pub struct ProjectedKeys<T> {
    score: Score,
    /// `[batch, keys, form]`
    forms: Array3<T>,
}

/// What [`Attention::backward`] needs of an [`Attention::forward_training`].
#[derive(Clone, Debug)]
pub struct AttentionTrace<T> {
    queries: Array2<T>,
    keys: Array2<T>,
    values: Array2<T>,
    query_forms: Array2<T>,
    key_forms: Array2<T>,
    /// `[query rows, keys]`
    weights: Array2<T>,
    query_clips: Clips,
    key_clips: Clips,
    causal: bool,
}

/// The gradients that [`Attention::backward`] returns.
#[derive(Clone, Debug)]
pub struct AttentionGradients<T> {
    /// Of the queries: `[batch, queries, query_size]`.
    pub queries: Array3<T>,
    /// Of the keys: `[batch, keys, key_size]`.
    pub keys: Array3<T>,
    /// Of the values: `[batch, keys, value features]`. Where keys and values are one array, its gradient is the sum.
    pub values: Array3<T>,
    /// Of the parameters.
    pub parameters: Attention<T>,
}

impl<T: Element> Attention<T> {
    /// Attends with `queries` `[batch, queries, query_size]` to `keys` `[batch, keys, key_size]` and takes the weighted sum
    /// of `values` `[batch, keys, value features]`.
    ///
    /// ```
    /// use attention::{Attention, AttentionConfig, AttentionMask, Score};
    /// use ndarray::array;
    ///
    /// let attention = Attention::<f64>::zeros(AttentionConfig::new(Score::Dot, 2, 2))?;
    /// let keys = array![[[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]]];
    /// let values = array![[[2.0], [4.0], [f64::NAN]]];
    /// let mask = AttentionMask { key_lengths: Some(&[2]), ..AttentionMask::default() };
    /// let output = attention.forward(array![[[1.0, 1.0]]].view(), keys.view(), values.view(), &mask)?;
    /// assert_eq!(output.scores, array![[[1.0, 1.0, f64::NEG_INFINITY]]]);
    /// assert_eq!(output.weights, array![[[0.5, 0.5, 0.0]]]);
    /// assert_eq!(output.context, array![[[3.0]]]);
    /// # Ok::<(), attention::AttentionError>(())
    /// ```
    ///
    /// # Errors
    /// [`AttentionError`] for empty axes, sizes that do not fit, more keys than locations, a wrong mask, and parameters
    /// that do not fit the configuration.
    pub fn forward(
        &self,
        queries: ArrayView3<'_, T>,
        keys: ArrayView3<'_, T>,
        values: ArrayView3<'_, T>,
        mask: &AttentionMask<'_>,
    ) -> Result<AttentionOutput<T>, AttentionError> {
        Ok(self.run(queries, keys, values, mask)?.0)
    }

    /// The forms of `keys` `[batch, keys, key_size]`, for [`Self::forward_projected`].
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn project_keys(&self, keys: ArrayView3<'_, T>) -> Result<ProjectedKeys<T>, AttentionError> {
        let packed = PackedScore::new(self)?;
        self.check_keys(keys)?;
        let (batch, count, _) = keys.dim();
        let clips = Clips::new(batch, count, None);
        let forms = packed.key_forms(clips.frames(keys).view())?.into_owned();
        Ok(ProjectedKeys { score: self.config().score, forms: clips.pad(forms) })
    }

    /// [`Self::forward`] on keys that were projected before, to the same bits.
    ///
    /// ```
    /// use attention::{Attention, AttentionConfig, AttentionMask, Score};
    /// use ndarray::Array3;
    /// use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
    ///
    /// let config = AttentionConfig { attention_size: 8, ..AttentionConfig::new(Score::Additive, 4, 6) };
    /// let attention = Attention::<f32>::new(config, &mut StdRng::seed_from_u64(1))?;
    /// let frames = Array3::from_shape_fn((1, 10, 6), |(_, t, i)| (t * i) as f32 / 20.0);
    /// let keys = attention.project_keys(frames.view())?; // once per clip
    /// let query = Array3::ones((1, 1, 4)); // every step has another
    /// let mask = AttentionMask::default();
    /// let output = attention.forward_projected(query.view(), &keys, frames.view(), &mask)?;
    /// assert_eq!(output, attention.forward(query.view(), frames.view(), frames.view(), &mask)?);
    /// # Ok::<(), attention::AttentionError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::forward`], and for keys that were projected by another score function.
    pub fn forward_projected(
        &self,
        queries: ArrayView3<'_, T>,
        keys: &ProjectedKeys<T>,
        values: ArrayView3<'_, T>,
        mask: &AttentionMask<'_>,
    ) -> Result<AttentionOutput<T>, AttentionError> {
        let packed = PackedScore::new(self)?;
        if keys.score != self.config().score {
            let found = format!("{:?} for {:?}", keys.score, self.config().score);
            return Err(crate::error::invalid(NAME, "keys", "projected by the same score function", found).into());
        }
        let (batch, count, form) = keys.forms.dim();
        check_axis(NAME, "projected key features", packed.key_form_size(), form)?;
        let shape = self.check_input(queries, [batch, count], values, mask)?;
        let clips = Clips::new(batch, count, mask.key_lengths);
        let rows = Rows::new(&packed, queries, values, mask, shape)?;
        rows.run(clips.frames(keys.forms.view()).view(), mask, shape).map(|(output, ..)| output)
    }

    /// Attends as [`Self::forward`] does, and keeps what [`Self::backward`] needs.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_training(
        &self,
        queries: ArrayView3<'_, T>,
        keys: ArrayView3<'_, T>,
        values: ArrayView3<'_, T>,
        mask: &AttentionMask<'_>,
    ) -> Result<(AttentionOutput<T>, AttentionTrace<T>), AttentionError> {
        self.run(queries, keys, values, mask)
    }

    fn run(
        &self,
        queries: ArrayView3<'_, T>,
        keys: ArrayView3<'_, T>,
        values: ArrayView3<'_, T>,
        mask: &AttentionMask<'_>,
    ) -> Result<(AttentionOutput<T>, AttentionTrace<T>), AttentionError> {
        let packed = PackedScore::new(self)?;
        self.check_keys(keys)?;
        let shape = self.check_input(queries, [keys.dim().0, keys.dim().1], values, mask)?;
        let rows = Rows::new(&packed, queries, values, mask, shape)?;
        let keys = rows.key_clips.frames(keys);
        let key_forms = packed.key_forms(keys.view())?;
        let (output, query_forms, weights) = rows.run(key_forms.view(), mask, shape)?;
        let trace = AttentionTrace {
            queries: rows.queries,
            values: rows.values,
            query_forms,
            key_forms: key_forms.into_owned(),
            keys: keys.into_owned(),
            weights,
            query_clips: rows.query_clips,
            key_clips: rows.key_clips,
            causal: mask.causal,
        };
        Ok((output, trace))
    }

    /// The gradients of a loss, from those of the context and, where the loss has a term of them, of the weights; both in
    /// the shapes of [`AttentionOutput`]. What they hold beyond the lengths is not used.
    ///
    /// # Errors
    /// [`AttentionError`] for wrong shapes, or a trace of another configuration.
    pub fn backward(
        &self,
        trace: &AttentionTrace<T>,
        grad_context: ArrayView3<'_, T>,
        grad_weights: Option<ArrayView3<'_, T>>,
    ) -> Result<AttentionGradients<T>, AttentionError> {
        let packed = PackedScore::new(self)?;
        let (query_clips, key_clips) = (&trace.query_clips, &trace.key_clips);
        check_axis("Attention::backward", "trace query features", self.config().query_size, trace.queries.ncols())?;
        check_axis("Attention::backward", "trace key features", self.config().key_size, trace.keys.ncols())?;
        check_axis("Attention::backward", "trace form features", packed.form_size, trace.query_forms.ncols())?;
        check_axis("Attention::backward", "trace key form features", packed.key_form_size(), trace.key_forms.ncols())?;
        let features = trace.values.ncols();
        check_shape(
            ["context gradient batch", "context gradient queries", "context gradient features"],
            [query_clips.batch(), query_clips.time, features],
            grad_context,
        )?;
        if let Some(grad) = grad_weights {
            check_shape(
                ["weight gradient batch", "weight gradient queries", "weight gradient keys"],
                [query_clips.batch(), query_clips.time, key_clips.time],
                grad,
            )?;
        }
        let grad_context = query_clips.frames(grad_context);
        let grad_weights = grad_weights.map(|grad| query_clips.frames(grad));
        let (form, key_form, batch) = (packed.form_size, packed.key_form_size(), query_clips.batch());
        let mut grad_forms = Array2::zeros(trace.query_forms.dim());
        let mut grad_key_forms = Array2::zeros(trace.key_forms.dim());
        let mut grad_values = Array2::zeros(trace.values.dim());
        let vector = packed.scorer.vector.len();
        let mut grad_vectors = Array2::<T>::zeros((batch, vector));
        let sequences = query_clips
            .split(slice_mut(&mut grad_forms), form)
            .into_iter()
            .zip(key_clips.split(slice_mut(&mut grad_key_forms), key_form))
            .zip(key_clips.split(slice_mut(&mut grad_values), features))
            .zip(grad_vectors.rows_mut())
            .collect::<Vec<_>>();
        sequences.into_par_iter().enumerate().try_for_each(|(sequence, (((forms, keys), values), mut vector))| {
            let keys_of = key_clips.starts[sequence]..key_clips.starts[sequence] + key_clips.lengths[sequence];
            let (mut scores, mut scratch) = (vec![T::zero(); keys_of.len()], vec![T::zero(); form]);
            for query in 0..query_clips.lengths[sequence] {
                let row = query_clips.starts[sequence] + query;
                let count = visible(trace.causal, query, keys_of.len());
                let operands = Operands {
                    form: row_of(trace.query_forms.view(), row),
                    keys: rows_of(trace.key_forms.view(), keys_of.start, count),
                    values: rows_of(trace.values.view(), keys_of.start, count),
                };
                let gradients = RowGradients {
                    context: row_of(grad_context.view(), row),
                    weights: grad_weights.as_ref().map(|grad| &row_of(grad.view(), row)[..count]),
                    form: &mut forms[query * form..(query + 1) * form],
                    keys: &mut keys[..count * key_form],
                    values: Some(&mut values[..count * features]),
                    vector: vector.as_slice_mut().expect("a row of a new array"),
                    scores: &mut scores[..count],
                    scratch: &mut scratch,
                };
                packed.scorer.attend_backward(operands, &row_of(trace.weights.view(), row)[..count], gradients)?;
            }
            Ok::<(), TensorError>(())
        })?;
        let back = ScoreBackward::new(self, &packed)?;
        let mut grad_queries = Array2::zeros(trace.queries.dim());
        back.queries(trace.query_forms.view(), grad_forms.view_mut(), grad_queries.view_mut())?;
        let mut grad_keys = Array2::zeros(trace.keys.dim());
        let mut grad_vector = vec![T::zero(); vector];
        add_rows(grad_vectors.view(), &mut grad_vector);
        let parameters = back.finish(
            trace.keys.view(),
            trace.key_forms.view(),
            grad_key_forms,
            grad_keys.view_mut(),
            trace.queries.view(),
            grad_forms.view(),
            &grad_vector,
        )?;
        Ok(AttentionGradients {
            queries: query_clips.pad(grad_queries),
            keys: key_clips.pad(grad_keys),
            values: key_clips.pad(grad_values),
            parameters,
        })
    }

    fn check_keys(&self, keys: ArrayView3<'_, T>) -> Result<(), TensorError> {
        let (batch, count, features) = keys.dim();
        check_not_empty(NAME, "keys batch", batch)?;
        check_not_empty(NAME, "keys", count)?;
        check_axis(NAME, "key features", self.config().key_size, features)
    }

    /// Batch, queries and keys.
    fn check_input(
        &self,
        queries: ArrayView3<'_, T>,
        [batch, keys]: [usize; 2],
        values: ArrayView3<'_, T>,
        mask: &AttentionMask<'_>,
    ) -> Result<[usize; 3], TensorError> {
        let (query_batch, count, features) = queries.dim();
        check_axis(NAME, "queries batch", batch, query_batch)?;
        check_not_empty(NAME, "queries", count)?;
        check_axis(NAME, "query features", self.config().query_size, features)?;
        check_axis(NAME, "values batch", batch, values.dim().0)?;
        check_axis(NAME, "values", keys, values.dim().1)?;
        check_not_empty(NAME, "value features", values.dim().2)?;
        if self.config().score == Score::Location && keys > self.config().locations {
            let found = format!("{keys} for {} locations", self.config().locations);
            return Err(crate::error::invalid(NAME, "keys", "at most as many as locations", found));
        }
        mask.check(NAME, [batch, count, keys])?;
        Ok([batch, count, keys])
    }
}

/// The rows of a call, without padding.
struct Rows<'a, T> {
    packed: &'a PackedScore<T>,
    queries: Array2<T>,
    values: Array2<T>,
    query_clips: Clips,
    key_clips: Clips,
}

impl<'a, T: Element> Rows<'a, T> {
    fn new(
        packed: &'a PackedScore<T>,
        queries: ArrayView3<'_, T>,
        values: ArrayView3<'_, T>,
        mask: &AttentionMask<'_>,
        [batch, query_count, key_count]: [usize; 3],
    ) -> Result<Self, TensorError> {
        let query_clips = Clips::new(batch, query_count, mask.query_lengths);
        let key_clips = Clips::new(batch, key_count, mask.key_lengths);
        let queries = query_clips.frames(queries).into_owned();
        let values = key_clips.frames(values).into_owned();
        Ok(Self { packed, queries, values, query_clips, key_clips })
    }

    /// The output, the forms of the queries and the weights as rows.
    #[expect(clippy::type_complexity, reason = "three parts of a trace")]
    fn run(
        &self,
        key_forms: ArrayView2<'_, T>,
        mask: &AttentionMask<'_>,
        shape: [usize; 3],
    ) -> Result<(AttentionOutput<T>, Array2<T>, Array2<T>), AttentionError> {
        let kept = mask.check(NAME, shape)?;
        let (clips, form, features) = (&self.query_clips, self.packed.form_size, self.values.ncols());
        let mut query_forms = Array2::zeros((clips.rows, form));
        self.packed.query_forms(self.queries.view(), query_forms.view_mut())?;
        let mut scores = Array2::from_elem((clips.rows, shape[2]), T::neg_infinity());
        let mut weights = Array2::zeros((clips.rows, shape[2]));
        let mut context = Array2::zeros((clips.rows, features));
        let outputs = clips
            .split(slice_mut(&mut scores), shape[2])
            .into_iter()
            .zip(clips.split(slice_mut(&mut weights), shape[2]))
            .zip(clips.split(slice_mut(&mut context), features))
            .collect::<Vec<_>>();
        outputs.into_par_iter().enumerate().for_each(|(sequence, ((scores, weights), context))| {
            let keys_of = (self.key_clips.starts[sequence], self.key_clips.lengths[sequence]);
            let rows = scores.par_chunks_mut(shape[2]).zip(weights.par_chunks_mut(shape[2]));
            let rows = rows.zip(context.par_chunks_mut(features)).enumerate();
            rows.for_each_init(
                || vec![T::zero(); form],
                |scratch, (query, ((scores, weights), context))| {
                    let count = visible(mask.causal, query, keys_of.1);
                    let operands = Operands {
                        form: row_of(query_forms.view(), clips.starts[sequence] + query),
                        keys: rows_of(key_forms, keys_of.0, count),
                        values: rows_of(self.values.view(), keys_of.0, count),
                    };
                    let kept = kept.map(|kept| kept.slice_move(s![sequence, query, ..]));
                    let (scores, weights) = (&mut scores[..count], &mut weights[..count]);
                    self.packed.scorer.attend(operands, kept, Attended { scores, weights, context, scratch });
                },
            );
        });
        let mut padded_scores = Array3::from_elem((shape[0], shape[1], shape[2]), T::neg_infinity());
        for (sequence, (&start, &length)) in clips.starts.iter().zip(&clips.lengths).enumerate() {
            let target = s![sequence, ..length, ..];
            padded_scores.slice_mut(target).assign(&scores.slice(s![start..start + length, ..]));
        }
        let output =
            AttentionOutput { context: clips.pad(context), weights: clips.pad(weights.clone()), scores: padded_scores };
        Ok((output, query_forms, weights))
    }
}

/// The keys that a query sees of `keys`.
fn visible(causal: bool, query: usize, keys: usize) -> usize {
    if causal { keys.min(query + 1) } else { keys }
}

/// A row of an array whose rows lie side by side.
pub(crate) fn row_of<T>(rows: ArrayView2<'_, T>, row: usize) -> &[T] {
    rows_of(rows, row, 1)
}

/// `count` rows of an array whose rows lie side by side.
pub(crate) fn rows_of<T>(rows: ArrayView2<'_, T>, first: usize, count: usize) -> &[T] {
    let width = rows.ncols();
    &rows.to_slice().expect("rows side by side")[first * width..(first + count) * width]
}

pub(crate) fn slice_mut<T>(values: &mut Array2<T>) -> &mut [T] {
    values.as_slice_mut().expect("an array in standard layout")
}

fn check_shape<T>(axes: [&'static str; 3], expected: [usize; 3], found: ArrayView3<'_, T>) -> Result<(), TensorError> {
    for ((axis, expected), &found) in axes.into_iter().zip(expected).zip(found.shape()) {
        check_axis("Attention::backward", axis, expected, found)?;
    }
    Ok(())
}
