// What managed clusters do: refuses topics, new ones and altered ones, with settings that the operator keeps for himself.
// Their names stand in the broker's property `refused.topic.settings`, joined by commas.

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.errors.PolicyViolationException;
import org.apache.kafka.server.policy.AlterConfigPolicy;
import org.apache.kafka.server.policy.CreateTopicPolicy;

/** For `create.topic.policy.class.name` and `alter.config.policy.class.name`. */
public final class RefuseSettings implements CreateTopicPolicy, AlterConfigPolicy {
    private List<String> refused;

    @Override
    public void configure(Map<String, ?> properties) {
        refused = Arrays.asList(String.valueOf(properties.get("refused.topic.settings")).split(","));
    }

    @Override
    public void validate(CreateTopicPolicy.RequestMetadata request) {
        check(request.configs());
    }

    @Override
    public void validate(AlterConfigPolicy.RequestMetadata request) {
        check(request.configs());
    }

    private void check(Map<String, String> settings) {
        for (String name : settings.keySet()) {
            if (refused.contains(name)) {
                throw new PolicyViolationException(name + " is not yours to set");
            }
        }
    }

    @Override
    public void close() {}
}
