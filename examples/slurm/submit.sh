#!/bin/bash
# Submits a scoring in eight shards, and the merging for when all of them have ended well.
#
#   SAMPLES=samples.jsonl BENCHMARK=humaneval+ OUTPUT=results/model ./submit.sh
#
# A shard that has failed: sbatch --array=3 score.sbatch with the same variables, then merge.sbatch.

set -euo pipefail

export NUM_SHARDS="${NUM_SHARDS:-8}"
export SAMPLES BENCHMARK OUTPUT
export FOLDER="$OUTPUT"

mkdir -p logs
array=$(sbatch --parsable --export=ALL --array="1-$NUM_SHARDS" score.sbatch)
sbatch --export=ALL --dependency="afterok:$array" merge.sbatch
