//! Parameters in the order of other systems.

use ndarray::{Array2, Array3, ArrayD, s};
use tensor_ops::{
    CELL_GATE, Element, FORGET_GATE, GATES, INPUT_GATE, OUTPUT_GATE, ParameterError, Parameters, TensorError,
    check_axis, load_parameters,
};

use crate::{Lstm, LstmError, PEEPHOLES};

/// ONNX's order of gates: i, o, f, c.
const ONNX_GATES: [usize; GATES] = [INPUT_GATE, OUTPUT_GATE, FORGET_GATE, CELL_GATE];
/// ONNX's order of peepholes, i, o, f, as rows of ours, which are i, f, o.
const ONNX_PEEPHOLES: [usize; PEEPHOLES] = [0, 2, 1];

/// The parameters of one layer as the ONNX operator `LSTM` takes them: gates in the order i, o, f, c, peepholes i, o, f.
#[derive(Clone, Debug, PartialEq)]
pub struct OnnxLstm<T> {
    /// W: `[directions, 4 · hidden, input]`.
    pub w: Array3<T>,
    /// R: `[directions, 4 · hidden, hidden]`.
    pub r: Array3<T>,
    /// B: `[directions, 8 · hidden]`, the biases of W followed by those of R.
    pub b: Option<Array2<T>>,
    /// P: `[directions, 3 · hidden]`.
    pub p: Option<Array2<T>>,
}

impl<T: Element> Lstm<T> {
    /// The parameters under the names of PyTorch's `state_dict`, in its order.
    ///
    /// Peepholes, which PyTorch lacks, are named `peepholes_l0`, `peepholes_l0_reverse`, …: `[3, hidden]` for i, f and o.
    pub fn to_pytorch(&self) -> Vec<(String, ArrayD<T>)> {
        self.named().into_iter().map(|(name, values)| (name, values.to_owned())).collect()
    }

    /// Sets all parameters to those of a PyTorch `state_dict`, named as [`Self::to_pytorch`] names them.
    ///
    /// Everything is checked first: after an error the parameters are as they were.
    ///
    /// # Errors
    /// [`LstmError::Parameter`] if a name is missing or left over, a shape differs or a value is not finite.
    pub fn load_pytorch(&mut self, state_dict: &[(String, ArrayD<T>)]) -> Result<(), LstmError> {
        load_parameters(self, state_dict)?;
        Ok(())
    }

    /// The parameters of a layer in ONNX's order.
    ///
    /// # Errors
    /// [`LstmError::Tensor`] if there is no such layer; as [`Self::pack`] if a public array has a wrong shape.
    pub fn to_onnx(&self, layer: usize) -> Result<OnnxLstm<T>, LstmError> {
        self.check()?;
        let range = self.directions_of(layer)?;
        let (directions, hidden) = (range.len(), self.config().hidden_size);
        let gates = GATES * hidden;
        let mut onnx = OnnxLstm {
            w: Array3::zeros((directions, gates, self.config().layer_input_size(layer))),
            r: Array3::zeros((directions, gates, hidden)),
            b: self.config().bias.then(|| Array2::zeros((directions, 2 * gates))),
            p: self.config().peepholes.then(|| Array2::zeros((directions, PEEPHOLES * hidden))),
        };
        for (direction, weights) in self.directions[range].iter().enumerate() {
            for (block, &gate) in ONNX_GATES.iter().enumerate() {
                let (to, from) = (block * hidden, gate * hidden);
                let (to, from) = (to..to + hidden, from..from + hidden);
                onnx.w.slice_mut(s![direction, to.clone(), ..]).assign(&weights.weight_ih.slice(s![from.clone(), ..]));
                onnx.r.slice_mut(s![direction, to.clone(), ..]).assign(&weights.weight_hh.slice(s![from.clone(), ..]));
                for (first, bias) in [(0, &weights.bias_ih), (gates, &weights.bias_hh)] {
                    if let (Some(b), Some(bias)) = (&mut onnx.b, bias) {
                        let to = first + to.start..first + to.end;
                        b.slice_mut(s![direction, to]).assign(&bias.slice(s![from.clone()]));
                    }
                }
            }
            if let (Some(p), Some(peepholes)) = (&mut onnx.p, &weights.peepholes) {
                for (block, &row) in ONNX_PEEPHOLES.iter().enumerate() {
                    p.slice_mut(s![direction, block * hidden..(block + 1) * hidden]).assign(&peepholes.row(row));
                }
            }
        }
        Ok(onnx)
    }

    /// Sets the parameters of a layer to those of an ONNX operator.
    ///
    /// Biases and peepholes that `onnx` does not have are set to zero, as ONNX defines it.
    ///
    /// # Errors
    /// [`LstmError::Tensor`] if there is no such layer or a shape differs; [`LstmError::Parts`] if `onnx` has biases or
    /// peepholes and the configuration has none; [`LstmError::Parameter`] if a value is not finite. After an error the
    /// parameters are as they were.
    pub fn load_onnx(&mut self, layer: usize, onnx: &OnnxLstm<T>) -> Result<(), LstmError> {
        self.check()?;
        let range = self.directions_of(layer)?;
        self.check_onnx(layer, onnx)?;
        let hidden = self.config().hidden_size;
        let gates = GATES * hidden;
        for (direction, weights) in self.directions[range].iter_mut().enumerate() {
            for (block, &gate) in ONNX_GATES.iter().enumerate() {
                let (to, from) = (gate * hidden..(gate + 1) * hidden, block * hidden..(block + 1) * hidden);
                weights.weight_ih.slice_mut(s![to.clone(), ..]).assign(&onnx.w.slice(s![direction, from.clone(), ..]));
                weights.weight_hh.slice_mut(s![to.clone(), ..]).assign(&onnx.r.slice(s![direction, from.clone(), ..]));
                for (first, bias) in [(0, &mut weights.bias_ih), (gates, &mut weights.bias_hh)] {
                    let Some(bias) = bias else { continue };
                    let mut bias = bias.slice_mut(s![to.clone()]);
                    match &onnx.b {
                        Some(b) => bias.assign(&b.slice(s![direction, first + from.start..first + from.end])),
                        None => bias.fill(T::zero()),
                    }
                }
            }
            if let Some(peepholes) = &mut weights.peepholes {
                for (block, &row) in ONNX_PEEPHOLES.iter().enumerate() {
                    let mut target = peepholes.row_mut(row);
                    match &onnx.p {
                        Some(p) => target.assign(&p.slice(s![direction, block * hidden..(block + 1) * hidden])),
                        None => target.fill(T::zero()),
                    }
                }
            }
        }
        Ok(())
    }

    fn directions_of(&self, layer: usize) -> Result<std::ops::Range<usize>, TensorError> {
        let (directions, end) = (self.config().directions(), self.config().layers);
        if layer < end {
            return Ok(layer * directions..(layer + 1) * directions);
        }
        Err(TensorError::IndexOutOfRange { operation: "Lstm", index: "layer", item: 0, found: layer, end })
    }

    fn check_onnx(&self, layer: usize, onnx: &OnnxLstm<T>) -> Result<(), LstmError> {
        const NAME: &str = "OnnxLstm";
        let config = self.config();
        let (directions, hidden) = (config.directions(), config.hidden_size);
        for (axis, expected, found) in [
            ("W directions", directions, onnx.w.dim().0),
            ("W gates", GATES * hidden, onnx.w.dim().1),
            ("W input features", config.layer_input_size(layer), onnx.w.dim().2),
            ("R directions", directions, onnx.r.dim().0),
            ("R gates", GATES * hidden, onnx.r.dim().1),
            ("R units", hidden, onnx.r.dim().2),
        ] {
            check_axis(NAME, axis, expected, found)?;
        }
        let optional = [
            ("B", &onnx.b, config.bias, ["B directions", "B gates"], 2 * GATES * hidden),
            ("P", &onnx.p, config.peepholes, ["P directions", "P gates"], PEEPHOLES * hidden),
        ];
        for (part, values, wanted, axes, columns) in optional {
            let Some(values) = values else { continue };
            if !wanted {
                return Err(LstmError::Parts { part: format!("ONNX {part}"), expected: "no such array" });
            }
            check_axis(NAME, axes[0], directions, values.nrows())?;
            check_axis(NAME, axes[1], columns, values.ncols())?;
        }
        check_finite("W", onnx.w.iter())?;
        check_finite("R", onnx.r.iter())?;
        check_finite("B", onnx.b.iter().flatten())?;
        check_finite("P", onnx.p.iter().flatten())?;
        Ok(())
    }
}

fn check_finite<'a, T: Element>(name: &str, mut values: impl Iterator<Item = &'a T>) -> Result<(), ParameterError> {
    match values.position(|value| !value.is_finite()) {
        Some(position) => Err(ParameterError::NotFinite { name: name.to_owned(), position }),
        None => Ok(()),
    }
}
