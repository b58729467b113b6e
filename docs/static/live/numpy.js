// The part of NumPy that the ops of the reference need, for small arrays in float64. An array without axes is a number.
"use strict";

const np = (() => {
  const bool = { name: "bool", type: Boolean };
  const int64 = { name: "int64", type: Math.trunc };
  const float64 = { name: "float64", type: Number };

  class NDArray {
    constructor(shape, data, dtype = float64) {
      this.shape = shape;
      this.data = Float64Array.from(data);
      this.dtype = dtype;
    }

    get ndim() { return this.shape.length; }
    get size() { return this.data.length; }
    get T() { return transpose(this, range(this.ndim).reverse()); }
    get mT() { return transpose(this, [...range(this.ndim - 2), this.ndim - 1, this.ndim - 2]); }

    [Symbol.iterator]() { return range(this.shape[0]).map((i) => get(this, i))[Symbol.iterator](); }

    any() { return this.data.some(Boolean); }
    argmax(how) { return reduce(this, how, (values) => values.indexOf(Math.max(...values)), int64); }
    astype(dtype) { return wrap(this.shape, this.data.map((value) => Number(dtype.type(value))), dtype); }
    max(how) { return reduce(this, how, (values) => Math.max(...values), this.dtype); }
    mean(how) { return reduce(this, how, (values) => sumOf(values) / values.length); }
    sum(how) { return reduce(this, how, sumOf, this.dtype === float64 ? float64 : int64); }

    reshape(...sizes) {
      const known = -product(sizes);
      return new NDArray(sizes.map((size) => (size === -1 ? this.size / known : size)), this.data, this.dtype);
    }
  }

  // Shapes

  const range = (length) => Array.from({ length }, (_, i) => i);
  const product = (sizes) => sizes.reduce((a, b) => a * b, 1);
  const sumOf = (values) => values.reduce((a, b) => a + b, 0);
  const shapeOf = (x) => (x instanceof NDArray ? x.shape : []);
  const kindOf = (x) => (x instanceof NDArray ? x.dtype : typeof x === "boolean" ? bool : float64);
  const wrap = (shape, data, dtype = float64) => (shape.length ? new NDArray(shape, data, dtype) : dtype.type(data[0]));

  // How far apart neighbours along each axis are.
  const strides = (shape) => shape.map((_, axis) => product(shape.slice(axis + 1)));

  // Every index of a shape, the last axis first.
  function* ndindex(...shape) {
    const sizes = Array.isArray(shape[0]) ? shape[0] : shape;
    for (let flat = 0; flat < product(sizes); flat++) {
      yield strides(sizes).map((stride, axis) => Math.floor(flat / stride) % sizes[axis]);
    }
  }

  function broadcastShapes(shapes) {
    const ndim = Math.max(...shapes.map((shape) => shape.length));
    const padded = shapes.map((shape) => [...Array(ndim - shape.length).fill(1), ...shape]);
    return range(ndim).map((axis) => {
      const sizes = new Set(padded.map((shape) => shape[axis]).filter((size) => size !== 1));
      if (sizes.size > 1) throw new Error(`shapes ${shapes.map((shape) => `(${shape})`).join(", ")} do not fit`);
      return sizes.size ? [...sizes][0] : 1;
    });
  }

  // The values of x in a larger shape.
  function broadcastTo(x, shape) {
    const own = [...Array(shape.length - shapeOf(x).length).fill(1), ...shapeOf(x)];
    const steps = strides(own).map((stride, axis) => (own[axis] === 1 ? 0 : stride));
    const data = x instanceof NDArray ? x.data : [x];
    return Float64Array.from(offsets(shape, steps), (at) => data[at]);
  }

  // The place of each index of a shape, if a step along each axis has these lengths.
  const offsets = (shape, steps) => axesSum(shape.map((size, axis) => range(size).map((i) => i * steps[axis])));
  const axesSum = (axes) => axes.reduce((sums, axis) => sums.flatMap((sum) => axis.map((at) => sum + at)), [0]);

  function transpose(x, axes) {
    const shape = axes.map((axis) => x.shape[axis]);
    const steps = axes.map((axis) => strides(x.shape)[axis]);
    return new NDArray(shape, offsets(shape, steps).map((at) => x.data[at]), x.dtype);
  }

  // Values

  const elementwise = (f, dtype) => (...args) => {
    const shape = broadcastShapes(args.map(shapeOf));
    const values = args.map((x) => broadcastTo(x, shape));
    return wrap(shape, range(product(shape)).map((i) => f(...values.map((each) => each[i]))), dtype);
  };

  function reduce(x, { axis = range(x.ndim), keepdims = false } = {}, f, dtype = float64) {
    const axes = (Array.isArray(axis) ? axis : [axis]).map((each) => (each + x.ndim) % x.ndim);
    const kept = x.shape.map((size, each) => (axes.includes(each) ? 1 : size));
    const steps = strides(kept).map((stride, each) => (axes.includes(each) ? 0 : stride));
    const groups = range(product(kept)).map(() => []);
    offsets(x.shape, steps).forEach((group, at) => groups[group].push(x.data[at]));
    return wrap(keepdims ? kept : kept.filter((_, each) => !axes.includes(each)), groups.map(f), dtype);
  }

  // For each letter a loop over all of its indices: the letters of the result, then those that are summed.
  function einsum(subscripts, ...operands) {
    const arrays = operands.filter((each) => each instanceof NDArray);
    const [inputs, output] = subscripts.split("->");
    const names = inputs.split(",");
    const sizes = new Map(names.flatMap((own, n) => [...own].map((letter, axis) => [letter, arrays[n].shape[axis]])));
    const letters = [...output, ...[...sizes.keys()].filter((letter) => !output.includes(letter))];
    const shape = [...output].map((letter) => sizes.get(letter));
    const steps = letters.map((letter) => names.map((own, n) => strides(arrays[n].shape)[own.indexOf(letter)] ?? 0));
    const sum = (depth, at) => {
      if (depth === letters.length) return arrays.reduce((term, array, n) => term * array.data[at[n]], 1);
      let total = 0;
      for (let i = 0; i < sizes.get(letters[depth]); i++) {
        total += sum(depth + 1, at.map((place, n) => place + i * steps[depth][n]));
      }
      return total;
    };
    const starts = arrays.map((_, n) => offsets(shape, steps.slice(0, shape.length).map((each) => each[n])));
    return wrap(shape, range(product(shape)).map((i) => sum(shape.length, starts.map((each) => each[i]))));
  }

  // Matrices, stacks of matrices, and rows: the axes before the last two broadcast.
  function matmul(a, b) {
    const left = a.ndim === 1 ? a.reshape(1, -1) : a;
    const right = b.ndim === 1 ? b.reshape(-1, 1) : b;
    const batch = broadcastShapes([left.shape.slice(0, -2), right.shape.slice(0, -2)]);
    const wide = (x) => new NDArray([product(batch), ...x.shape.slice(-2)], broadcastTo(x, [...batch, ...x.shape.slice(-2)]));
    const result = einsum("bij,bjk->bik", wide(left), wide(right));
    const rows = a.ndim === 1 ? [] : [left.shape.at(-2)];
    const columns = b.ndim === 1 ? [] : [right.shape.at(-1)];
    return wrap([...batch, ...rows, ...columns], result.data);
  }

  // Indices: numbers, slices, null for a new axis, "..." for all axes between, arrays of integers and masks

  const slice = (start = null, stop = null, step = null) => ({ start, stop, step: step ?? 1 });

  function sliced({ start, stop, step }, size) {
    const inside = (at, low, high) => Math.min(Math.max(at < 0 ? at + size : at, low), high);
    const first = start === null ? (step > 0 ? 0 : size - 1) : inside(start, 0, size);
    const end = stop === null ? (step > 0 ? size : -1) : inside(stop, 0, size);
    return range(Math.max(0, Math.ceil((end - first) / step))).map((i) => first + i * step);
  }

  // An index as one entry for each axis: masks become the places where they are true.
  function complete(index, ndim) {
    const isMask = (each) => each instanceof NDArray && each.dtype === bool;
    const entries = (Array.isArray(index) ? index : [index]).flatMap((each) => {
      if (!isMask(each)) return [each];
      const places = [...ndindex(each.shape)].filter((_, at) => each.data[at]);
      return each.shape.map((_, axis) => new NDArray([places.length], places.map((place) => place[axis]), int64));
    });
    const given = entries.filter((each) => each !== null && each !== "...").length;
    const others = Array(ndim - given).fill(slice());
    const at = entries.indexOf("...");
    return at < 0 ? [...entries, ...others] : entries.toSpliced(at, 1, ...others);
  }

  // What an index selects: its shape, and the place of each value. Arrays stand beside each other, as in all ops.
  function selection(shape, index) {
    const entries = complete(index, shape.length);
    const arrays = broadcastShapes(entries.map(shapeOf));
    const withArrays = entries.some((each) => each instanceof NDArray);
    const steps = strides(shape);
    const axes = [];
    let selected = null; // where the sum over the arrays and numbers stands among the axes
    let axis = 0;
    for (const entry of entries) {
      if (entry === null) {
        axes.push([0]);
      } else if (entry instanceof NDArray || typeof entry === "number") {
        const places = broadcastTo(entry, arrays);
        if (selected === null) selected = axes.push(Array(places.length).fill(0)) - 1;
        places.forEach((place, i) => {
          axes[selected][i] += (place < 0 ? place + shape[axis] : place) * steps[axis];
        });
        axis++;
      } else {
        axes.push(sliced(entry, shape[axis]).map((at) => at * steps[axis]));
        axis++;
      }
    }
    const sizes = axes.flatMap((each, n) => (n !== selected ? [each.length] : withArrays ? arrays : []));
    return { shape: sizes, places: axesSum(axes) };
  }

  function get(x, index) {
    if (Array.isArray(x)) return typeof index === "number" ? x.at(index) : sliced(index, x.length).map((i) => x[i]);
    if (!(x instanceof NDArray)) return x[index];
    const { shape, places } = selection(x.shape, index);
    return wrap(shape, places.map((at) => x.data[at]), x.dtype);
  }

  function set(x, index, value) {
    const { shape, places } = selection(x.shape, index);
    const values = broadcastTo(value, shape);
    places.forEach((at, i) => { x.data[at] = values[i]; });
  }

  function along(x, indices, axis) {
    const at = (axis + x.ndim) % x.ndim;
    const shape = broadcastShapes([indices.shape, x.shape.map((size, each) => (each === at ? 1 : size))]);
    const steps = strides(x.shape);
    const base = offsets(shape, steps.map((step, each) => (each === at ? 0 : step)));
    return { shape, places: [...broadcastTo(indices, shape)].map((index, i) => base[i] + index * steps[at]) };
  }

  // What ops call

  const full = (shape, value, dtype = kindOf(value)) => new NDArray(shape, broadcastTo(value, shape), dtype);
  const same = elementwise((a, b) => a === b, bool);
  const differ = elementwise((a, b) => a !== b, bool);
  const order = (values) => range(values.length).sort((a, b) => values[a] - values[b] || a - b);

  return {
    NDArray, bool, int64, intp: int64, uint8: int64, float64, ndindex, get, set, slice, einsum, matmul, full,
    add: elementwise((a, b) => a + b),
    subtract: elementwise((a, b) => a - b),
    multiply: elementwise((a, b) => a * b),
    floor_divide: elementwise((a, b) => Math.floor(a / b)),
    power: elementwise((a, b) => a ** b),
    maximum: elementwise(Math.max),
    minimum: elementwise(Math.min),
    clip: elementwise((x, low, high) => Math.min(Math.max(x, low), high)),
    negative: elementwise((x) => -x),
    exp: elementwise(Math.exp),
    expm1: elementwise(Math.expm1),
    log: elementwise(Math.log),
    sqrt: elementwise(Math.sqrt),
    where: elementwise((condition, x, y) => (condition ? x : y)),
    equal: (a, b) => (Array.isArray(a) ? `${a}` === `${b}` : same(a, b)),
    not_equal: (a, b) => (Array.isArray(a) ? `${a}` !== `${b}` : differ(a, b)),
    less: elementwise((a, b) => a < b, bool),
    less_equal: elementwise((a, b) => a <= b, bool),
    greater: elementwise((a, b) => a > b, bool),
    greater_equal: elementwise((a, b) => a >= b, bool),
    logical_and: elementwise((a, b) => Boolean(a) && Boolean(b), bool),
    logical_or: elementwise((a, b) => Boolean(a) || Boolean(b), bool),

    divide(a, b, { out = 0, where = true } = {}) {
      return elementwise((x, y, otherwise, wanted) => (wanted ? x / y : otherwise))(a, b, out, where);
    },

    arange: (start, stop) => new NDArray(
      [stop === undefined ? start : stop - start], range(stop === undefined ? start : stop - start).map((i) => i + (stop === undefined ? 0 : start)), int64,
    ),
    asarray: (x) => x,
    empty: (shape) => full(Array.isArray(shape) ? shape : [shape], 0, float64),
    zeros: (shape, dtype = float64) => full(shape, 0, dtype),
    zeros_like: (x) => full(x.shape, 0, x.dtype),
    ones_like: (x) => full(x.shape, 1, x.dtype),
    iinfo: () => ({ min: -(2 ** 63), max: 2 ** 63 }),
    ndim: (x) => shapeOf(x).length,
    shape: shapeOf,
    len: (x) => (x instanceof NDArray ? x.shape[0] : x.length),

    argsort: (x) => new NDArray(x.shape, order(x.data), int64),
    sort: (x) => new NDArray(x.shape, x.data.slice().sort()),
    unique: (x) => { const values = [...new Set(x.data)].sort((a, b) => a - b); return new NDArray([values.length], values, x.dtype); },
    cumsum: (x) => { let sum = 0; return new NDArray(x.shape, x.data.map((value) => (sum += value)), int64); },
    moveaxis(x, from, to) {
      const axes = range(x.ndim);
      const [moved] = axes.splice(from, 1);
      axes.splice(to < 0 ? x.ndim + to : to, 0, moved);
      return transpose(x, axes);
    },
    pad(x, widths, { constant_values }) {
      const padded = full(x.shape.map((size, axis) => size + sumOf(widths[axis])), constant_values, float64);
      set(padded, x.shape.map((size, axis) => slice(widths[axis][0], widths[axis][0] + size)), x);
      return padded;
    },
    stack: (arrays) => new NDArray([arrays.length, ...arrays[0].shape], arrays.flatMap((each) => [...each.data])),
    take_along_axis(x, indices, { axis }) {
      const { shape, places } = along(x, indices, axis);
      return wrap(shape, places.map((at) => x.data[at]), x.dtype);
    },
    put_along_axis(x, indices, values, { axis }) {
      const { shape, places } = along(x, indices, axis);
      broadcastTo(values, shape).forEach((value, i) => { x.data[places[i]] = value; });
    },

    // What Python has
    range,
    enumerate: (values) => [...values].map((value, i) => [i, value]),
    zip: (first, ...others) => [...first].map((value, i) => [value, ...others.map((each) => each[i])]),
    named: (names, values) => Object.assign(values, Object.fromEntries(names.map((name, i) => [name, values[i]]))),
    // What is assigned to `a, *b, c`: the values of b become one.
    unpack: (values, at, count) => {
      const starred = values.length - count + 1;
      return [...values.slice(0, at), values.slice(at, at + starred), ...values.slice(at + starred)];
    },
  };
})();
