// Trains the models of the pipeline in a page, to the same bits: src/pictures/engine.
const Engine = (function makeEngine() {
  "use strict";
// <modules>
  return {
    start, whyTooLarge, serve, snapshotIterations, onePoint,
    scores: scoresOf, probabilities: probabilitiesOf,
    pythonRepr, weightsJson, md5,
    exp, log, logRounded, sinCosRounded, linspace, standardNormal, makeSpirals,
    MODELS, Points, newTraining, planSnapshots,
  };
})();
