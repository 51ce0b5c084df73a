/** The instances on every image of the row, for one file. Answers are asked for again, as those of other images go. */

import { Answers } from "./answers.js";
import { load } from "./images.js";
import { instancesOf } from "./instances.js";

/**
 * The shown instances of each image that has prompts, in the order of the row; others are left out.
 * @param {{entry: import("./album.js").Entry, state: import("./state.js").State}[]} works
 * @param {boolean} distinct as in instances.js
 * @param {(entry: import("./album.js").Entry, number: number, of: number) => void} onImage called before each image
 * @returns {Promise<{image: object, instances: import("./instances.js").Instance[]}[]>} rejects with an error that has
 *   the image's name when one image fails
 */
export async function findingsOf(works, client, distinct, onImage) {
  const asked = works.map(({ entry, state }) => ({ entry, state: shown(state) })).filter(({ state }) => state.prompts.length);
  const findings = [];
  for (const [index, { entry, state }] of asked.entries()) {
    onImage(entry, index + 1, asked.length);
    try {
      const { bitmap, ...image } = await load(entry, client);
      bitmap.close?.();
      const answers = await answered(client, image, state.prompts);
      const instances = instancesOf(state, (prompt) => answers.answerTo(prompt), distinct);
      findings.push({ image, instances: instances.filter(({ hidden }) => !hidden) });
    } catch (error) {
      throw Object.assign(new Error(`${entry.name}: ${error.message}`), { status: error.status });
    }
  }
  return findings;
}

function shown(state) {
  return { ...state, prompts: state.prompts.filter(({ hidden }) => !hidden) };
}

/** @returns {Promise<Answers>} that has one for each of these prompts */
function answered(client, image, prompts) {
  return new Promise((resolve, reject) => {
    const answers = new Answers(client, (error) => {
      if (error) {
        reject(error);
        answers.setImage(null);
      } else if (prompts.every((prompt) => answers.answerTo(prompt))) resolve(answers);
    });
    answers.setImage(image);
    answers.want(prompts);
  });
}
