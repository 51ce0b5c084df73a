/** The sample images, and what there is to find in them. scripts/playground_samples.py draws them. */

export const SAMPLES = [
  { name: "dusk", about: "Stars and circles at dusk", suggestions: ["yellow star", "circle", "green star"] },
  { name: "paper", about: "Squares and circles on paper", suggestions: ["orange circle", "blue square", "triangle"] },
  { name: "mint", about: "Triangles and squares on mint", suggestions: ["purple triangle", "yellow circle", "square"] },
  { name: "stars", about: "Stars of three colours", suggestions: ["star", "orange star", "purple star"] },
  { name: "sky", about: "Red shapes and green circles", suggestions: ["red", "green circle", "red star"] },
  { name: "slate", about: "Blue circles and orange triangles", suggestions: ["blue circle", "orange triangle"] },
];
