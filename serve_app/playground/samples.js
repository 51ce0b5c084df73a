/** The concepts in the sample images. scripts/playground_samples.py draws the images. */

export const SUGGESTIONS = {
  dusk: ["yellow star", "circle", "green star"],
  paper: ["orange circle", "blue square", "triangle"],
  mint: ["purple triangle", "yellow circle", "square"],
  stars: ["star", "orange star", "purple star"],
  sky: ["red", "green circle", "green"],
  slate: ["blue circle", "orange triangle"],
};
